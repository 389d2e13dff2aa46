/**
 * Who is let in: what is checked of an upgrade request before it becomes a session, in the order in which it costs.
 *
 * The accept rate comes last, so that only devices that could come in draw on it: a token bucket that lets a reconnect
 * storm in at the speed at which it can be served.
 */
import { isDeviceToken } from '../../shared/token.js';

export const DEVICE_ID = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$/;

export type Protocol = 'json' | 'binary';

const PROTOCOLS: ReadonlyMap<string, Protocol> = new Map([
  ['holdfast.v1.json', 'json'],
  ['holdfast.v1.binary', 'binary'],
]);
const TOKEN_PREFIX = 'token.';

/** What an upgrade request says of itself. */
export interface UpgradeRequest {
  /** As in the URL, percent-encoding and all. */
  readonly id: string;
  readonly origin: string;
  readonly authorization: string;
  /** The offered subprotocols, as in the header. */
  readonly offered: string;
}

export interface Admitted {
  readonly deviceId: string;
  readonly protocol: Protocol;
  /** The subprotocol to answer with; empty where none was offered. */
  readonly answer: string;
}

export interface Refused {
  readonly status:
    '400 Bad Request' | '401 Unauthorized' | '403 Forbidden' | '429 Too Many Requests' | '503 Service Unavailable';
  /** For metrics. */
  readonly reason: string;
  readonly message: string;
  readonly retryAfterSeconds?: number;
}

export interface AdmissionOptions {
  readonly deviceSecret: string | undefined;
  readonly origins: readonly string[];
  readonly acceptRate: number;
  readonly acceptBurst: number;
  readonly maxDevices: number;
  readonly retryAfterMs: number;
}

export class Admission {
  #tokens: number;
  #refilledMs = Date.now();

  constructor(
    private readonly options: AdmissionOptions,
    private readonly devices: () => number,
  ) {
    this.#tokens = options.acceptBurst;
  }

  admit(request: UpgradeRequest): Admitted | Refused {
    const { origins, deviceSecret, maxDevices } = this.options;
    const deviceId = decodeId(request.id);
    if (deviceId === undefined) {
      const message = `a device id matches ${DEVICE_ID.source}`;
      return { status: '400 Bad Request', reason: 'bad_id', message };
    }
    if (request.origin !== '' && !origins.includes(request.origin)) {
      return { status: '403 Forbidden', reason: 'origin', message: 'this Origin is not on the list of EDGE_ORIGINS' };
    }
    const offered = request.offered.split(',').map((name) => name.trim());
    const answer = request.offered === '' ? '' : offered.find((name) => PROTOCOLS.has(name));
    if (answer === undefined) {
      const message = `offer one of the subprotocols ${[...PROTOCOLS.keys()].join(', ')}`;
      return { status: '400 Bad Request', reason: 'subprotocol', message };
    }
    if (deviceSecret !== undefined) {
      const refused = checkToken(deviceSecret, deviceId, request.authorization, offered);
      if (refused !== undefined) return refused;
    }
    if (this.devices() >= maxDevices) {
      return this.#later('503 Service Unavailable', 'max_devices', `${maxDevices} devices are connected already`);
    }
    if (!this.#draw()) return this.#later('429 Too Many Requests', 'accept_rate', 'too many devices connect at once');
    return { deviceId, protocol: PROTOCOLS.get(answer) ?? 'json', answer };
  }

  #later(status: Refused['status'], reason: string, message: string): Refused {
    const retryAfterSeconds = Math.ceil((this.options.retryAfterMs * (0.5 + Math.random())) / 1000);
    return { status, reason, message, retryAfterSeconds };
  }

  #draw(): boolean {
    const nowMs = Date.now();
    const { acceptRate, acceptBurst } = this.options;
    // A clock that was set back must not empty the bucket for as long as it was set back.
    const elapsedMs = Math.max(0, nowMs - this.#refilledMs);
    this.#tokens = Math.min(acceptBurst, this.#tokens + (elapsedMs / 1000) * acceptRate);
    this.#refilledMs = nowMs;
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }
}

function checkToken(
  secret: string,
  deviceId: string,
  authorization: string,
  offered: readonly string[],
): Refused | undefined {
  const bearer = /^Bearer +(\S+)$/i.exec(authorization)?.[1];
  const token = bearer ?? offered.find((name) => name.startsWith(TOKEN_PREFIX))?.slice(TOKEN_PREFIX.length);
  if (token === undefined) {
    const message = 'give the token as Authorization: Bearer <token>, or offer the subprotocol token.<token>';
    return { status: '401 Unauthorized', reason: 'no_credential', message };
  }
  if (isDeviceToken(secret, deviceId, token)) return undefined;
  return { status: '403 Forbidden', reason: 'credential', message: `this token is not that of device ${deviceId}` };
}

function decodeId(encoded: string): string | undefined {
  try {
    const id = decodeURIComponent(encoded);
    return DEVICE_ID.test(id) ? id : undefined;
  } catch {
    // Not percent-encoded text: no id either.
    return undefined;
  }
}
