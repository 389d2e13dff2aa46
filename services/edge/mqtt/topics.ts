/**
 * What topics mean. A device has three sets of names for the same: Holdfast's own, those of AWS IoT's shadows and those of
 * ThingsBoard, which stand in the firmware of many devices already.
 *
 *   up    holdfast/{device}/telemetry|report|result|get        down  holdfast/{device}/delta|commands|shadow|errors
 *         $aws/things/{device}/shadow/update|get|delete              …/accepted, …/rejected, …/update/delta
 *         v1/devices/me/telemetry|attributes, …/rpc/response/{id}    v1/devices/me/attributes, …/rpc/request/{id}
 *
 * A device has its own topics only; there is no topic by which one device could reach another.
 */
import { Kind } from '../../../shared/batch.js';
import { Reason, type Reason as ReasonCode } from './reasons.js';

/** How a payload is to be read. */
export type Form = 'holdfast' | 'aws' | 'thingsboard' | 'attributes' | 'rpc';

export type ShadowVerb = 'get' | 'update' | 'delete';

/** What a publish to a topic asks for. */
export type UpTopic =
  | { readonly action: 'records'; readonly kind: Kind; readonly form: Form; readonly commandId: string }
  | { readonly action: 'ask' }
  /** A request to a shadow, answered on `topic/accepted` or `topic/rejected`. */
  | { readonly action: 'shadow'; readonly verb: ShadowVerb; readonly topic: string; readonly named: string | undefined }
  | { readonly action: 'refuse'; readonly reason: ReasonCode; readonly message: string };

const OWN: Readonly<Record<string, UpTopic>> = {
  telemetry: records(Kind.telemetry, 'holdfast'),
  report: records(Kind.report, 'holdfast'),
  result: records(Kind.result, 'holdfast'),
  get: { action: 'ask' },
};
const THINGSBOARD: Readonly<Record<string, UpTopic>> = {
  'v1/devices/me/telemetry': records(Kind.telemetry, 'thingsboard'),
  'v1/devices/me/attributes': records(Kind.report, 'attributes'),
};
const RPC_RESPONSE = 'v1/devices/me/rpc/response/';
const RPC_REQUEST = 'v1/devices/me/rpc/request/';
const SHADOW = /^\$aws\/things\/([^/]+)\/shadow\/(?:name\/([^/]+)\/)?(get|update|delete)$/;
const HOLDFAST = /^holdfast\/([^/]+)\/([^/]+)$/;

function records(kind: Kind, form: Form, commandId = ''): UpTopic {
  return { action: 'records', kind, form, commandId };
}

/** What a publish of a device to a topic means. */
export function upTopic(topic: string, deviceId: string): UpTopic {
  const [, holder, name] = HOLDFAST.exec(topic) ?? [];
  if (holder !== undefined) {
    if (holder !== deviceId) return foreign(deviceId);
    return Object.hasOwn(OWN, name!) ? OWN[name!]! : unknown(deviceId);
  }
  const [, thing, named, verb] = SHADOW.exec(topic) ?? [];
  if (thing !== undefined) {
    return thing === deviceId ? { action: 'shadow', verb: verb as ShadowVerb, topic, named } : foreign(deviceId);
  }
  if (topic.startsWith(RPC_RESPONSE)) return records(Kind.result, 'rpc', topic.slice(RPC_RESPONSE.length));
  return Object.hasOwn(THINGSBOARD, topic) ? THINGSBOARD[topic]! : unknown(deviceId);
}

function foreign(deviceId: string): UpTopic {
  const message = `device ${deviceId} publishes to its own topics only`;
  return { action: 'refuse', reason: Reason.notAuthorised, message };
}

function unknown(deviceId: string): UpTopic {
  const message = `publish to holdfast/${deviceId}/telemetry, report, result or get, or to one of their aliases`;
  return { action: 'refuse', reason: Reason.badTopic, message };
}

/** The names of what goes down to a device. */
export class DownTopics {
  readonly delta: string;
  readonly commands: string;
  readonly shadow: string;
  readonly errors: string;
  readonly awsDelta: string;
  readonly attributes = 'v1/devices/me/attributes';
  /** What the filter of a subscription must begin with. */
  readonly #own: readonly string[];
  /** One of each that can be sent. */
  readonly #samples: readonly string[];

  constructor(deviceId: string) {
    const own = `holdfast/${deviceId}/`;
    const aws = `$aws/things/${deviceId}/shadow/`;
    this.delta = `${own}delta`;
    this.commands = `${own}commands`;
    this.shadow = `${own}shadow`;
    this.errors = `${own}errors`;
    this.awsDelta = `${aws}update/delta`;
    this.#own = [own, aws, 'v1/devices/me/'];
    const answers = ['get', 'update', 'delete'].flatMap((verb) => [`${verb}/accepted`, `${verb}/rejected`]);
    const named = answers.map((answer) => `${aws}name/+/${answer}`);
    const classic = answers.map((answer) => `${aws}${answer}`);
    const holdfast = [this.delta, this.commands, this.shadow, this.errors];
    this.#samples = [...holdfast, this.awsDelta, this.attributes, rpcRequest('+'), ...classic, ...named];
  }

  /** @returns the reason to refuse a subscription, and what to say; undefined: it is granted */
  refusalOf(filter: string): readonly [reason: ReasonCode, message: string] | undefined {
    if (filter.startsWith('$share/')) return [Reason.noSharedSubscriptions, 'there are no shared subscriptions here'];
    if (!this.#own.some((prefix) => filter.startsWith(prefix))) {
      return [Reason.notAuthorised, `a device subscribes to its own topics only, as ${this.delta}`];
    }
    if (filter.endsWith('/update/documents')) {
      return [Reason.implementationSpecific, 'devices are not sent documents; publish to shadow/get'];
    }
    if (!isFilter(filter) || !this.#samples.some((topic) => matches(filter, topic) || matches(topic, filter))) {
      return [Reason.badFilter, `nothing is sent to ${filter.slice(0, 100)}`];
    }
    return undefined;
  }
}

/** Where a command of this id goes, for ThingsBoard's firmware. */
export function rpcRequest(commandId: string): string {
  return RPC_REQUEST + commandId;
}

/** True where `+` and `#` stand as MQTT wants them (§4.7.1). */
function isFilter(filter: string): boolean {
  const levels = filter.split('/');
  return levels.every((level, index) => {
    if (level === '#') return index === levels.length - 1;
    return level === '+' || !/[+#]/.test(level);
  });
}

/** Whether a filter matches a topic (MQTT 5, §4.7). */
export function matches(filter: string, topic: string): boolean {
  if (filter === topic) return true;
  const wanted = filter.split('/');
  const levels = topic.split('/');
  for (const [index, level] of wanted.entries()) {
    if (level === '#') return true;
    if (index >= levels.length || (level !== '+' && level !== levels[index])) return false;
  }
  return wanted.length === levels.length;
}
