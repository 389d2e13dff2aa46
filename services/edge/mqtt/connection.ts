/**
 * A device's MQTT connection once it was let in: the session that the ingest and the downlink see, and what it publishes
 * and subscribes to.
 *
 * A publish is answered when all its records are on disk, in the order in which publishes came. One that is refused gets
 * the reason in its PUBACK (MQTT 5) and on the topic `errors`, where the device has subscribed to it. MQTT 3.1.1 has no
 * words for it: there a publish that is refused gets a plain PUBACK, because a device that got none would send it for ever.
 */
import { randomUUID } from 'node:crypto';
import { Kind } from '../../../shared/batch.js';
import { DownlinkType, type DownlinkMessage } from '../../../shared/downlink-frames.js';
import type { RecordError } from '../record-rules.js';
import { DeviceSession, type Ending, type RecordErrorCode } from '../session.js';
import type { DeviceConnection } from '../sessions.js';
import { acceptedGet, acceptedUpdate, deltaMessage, readShadowRequest, rejection } from './aws-shadow.js';
import type { Terms } from './connect.js';
import type { ISubscribePacket, IUnsubscribePacket } from './control-packets.js';
import type { MqttContext } from './context.js';
import { PendingAcks, type Answer } from './pending-acks.js';
import type { Publish } from './publish.js';
import { disconnectOf, ProtocolError, Reason, type Reason as ReasonCode } from './reasons.js';
import { RecordReader } from './record-reader.js';
import { returnCodeOf, Subscriptions } from './subscriptions.js';
import { Teller } from './teller.js';
import { TopicNames } from './topic-names.js';
import { DownTopics, rpcRequest, type UpTopic } from './topics.js';
import type { Transport } from './transport.js';

/** Errors of one publish that are told one by one. */
const TOLD_ERRORS = 20;
/** Questions for the shadow that wait for one answer. */
const MAX_GETS = 16;

type RecordsTopic = Extract<UpTopic, { readonly action: 'records' }>;
type ShadowTopic = Extract<UpTopic, { readonly action: 'shadow' }>;

/** Who wants the shadow: on `topic/accepted` as AWS sends it, or on Holdfast's own topic. */
interface Get {
  readonly topic: string | undefined;
  readonly clientToken: string | undefined;
}

export class MqttConnection implements DeviceConnection {
  readonly session: DeviceSession;
  readonly deviceId: string;
  readonly protocol: string;
  readonly id = randomUUID();
  /** What `offline` says beside it; undefined once the device has said goodbye. */
  will: unknown;
  readonly #topics: DownTopics;
  readonly #names: TopicNames;
  readonly #subscriptions: Subscriptions;
  readonly #teller: Teller;
  readonly #reader: RecordReader;
  readonly #pending = new PendingAcks();
  #gets: Get[] = [];
  /** True once it has sent more than Receive Maximum allows. */
  #isOver = false;
  /** Bytes that the ingest has taken from this connection. */
  #taken = 0;

  constructor(
    readonly terms: Terms,
    private readonly context: MqttContext,
    private readonly transport: Transport,
    /** Called where there is room for more. */
    private readonly onRoom: () => void,
  ) {
    this.deviceId = terms.deviceId;
    this.protocol = terms.version === 5 ? 'mqtt-5' : 'mqtt-3.1.1';
    this.will = terms.will;
    this.session = new DeviceSession(terms.deviceId, this);
    this.#topics = new DownTopics(terms.deviceId);
    this.#names = new TopicNames(terms.deviceId);
    this.#subscriptions = new Subscriptions(this.#topics);
    this.#teller = new Teller(terms, transport, this.#subscriptions);
    this.#reader = new RecordReader(this.session.idBytes.length, context.options, context.assigned);
  }

  /**
   * Takes a publish.
   * @returns false where there is no room for it now: it has to come again
   * @throws ProtocolError where the connection must end over it
   */
  publish(publish: Publish, bytes: Buffer): boolean {
    const { version } = this.terms;
    if (publish.qos === 2) throw new ProtocolError(Reason.noQos, 'publish with QoS 0 or 1');
    if (publish.isRetained && version === 5) throw new ProtocolError(Reason.noRetain, 'nothing is retained here');
    if (publish.qos === 1 && this.#isOverReceiveMaximum()) {
      // MQTT 3.1.1 has no words for how many there may be: its devices are read more slowly.
      if (version === 4 && this.transport.canPause) return false;
      // What was taken is answered first, so that the device gets on with every connection, however much it sends at once.
      this.#isOver = true;
      this.context.ingest.sendAway(this.session, 'window');
      return true;
    }
    const topic = this.#names.topicOf(publish, bytes);
    switch (topic.action) {
      case 'records':
        return this.#takeRecords(topic, publish, bytes.subarray(publish.payloadStart, publish.payloadEnd));
      case 'shadow':
        return this.#takeShadowRequest(topic, publish, bytes.subarray(publish.payloadStart, publish.payloadEnd));
      case 'ask':
        this.#get({ topic: undefined, clientToken: undefined });
        this.#answer(publish, undefined);
        return true;
      case 'refuse':
        this.#refuse(publish, topic.reason, topic.message);
        return true;
    }
  }

  subscribe({ subscriptions, messageId, properties }: ISubscribePacket): void {
    const { version } = this.terms;
    const before = this.#subscriptions.hearsShadow;
    const codes = subscriptions.map(({ topic }) =>
      properties?.subscriptionIdentifier === undefined ? this.#subscriptions.add(topic) : Reason.noSubscriptionIds,
    );
    const granted = version === 5 ? codes : codes.map(returnCodeOf);
    this.#teller.send({ cmd: 'suback', messageId: messageId!, granted });
    const hears = this.#subscriptions.hearsShadow;
    if (hears.some((heard, index) => heard && !before[index])) this.#announceAgain();
  }

  unsubscribe({ unsubscriptions, messageId }: IUnsubscribePacket): void {
    const granted = unsubscriptions.map((filter) => this.#subscriptions.remove(filter));
    this.#teller.send({ cmd: 'unsuback', messageId: messageId!, granted });
  }

  /** Answers all publishes that can be. To be called after a chunk of packets. */
  flush(): void {
    this.#teller.answer(this.#pending, this.#taken - this.session.unackedBytes);
  }

  /** The ingest has committed records of this connection. */
  ack(): void {
    this.flush();
    this.onRoom();
  }

  /** Tells of a record that was refused, where the device listens. */
  error(code: RecordErrorCode, message: string, seq: number | undefined): void {
    this.context.metrics.rejected.inc({ reason: code });
    this.#teller.explain(this.#topics.errors, () => JSON.stringify({ code, message, seq }));
  }

  refuseQuestion(message: string): void {
    for (const { topic, clientToken } of this.#takeGets()) {
      if (topic !== undefined) this.#reject(topic, 503, message, clientToken);
      else this.#teller.explain(this.#topics.errors, () => JSON.stringify({ code: 'refused', message, get: 'shadow' }));
    }
  }

  deliver(message: DownlinkMessage): boolean {
    const json = message.payload.toString('utf8');
    if (message.type === DownlinkType.shadow) return this.#deliverShadow(json);
    return message.type === DownlinkType.delta ? this.#deliverDelta(json, message.version) : this.#deliverCommand(json);
  }

  close(ending: Ending): void {
    const isOver = this.#isOver && ending.why === 'no_room';
    if (isOver) this.disconnect(Reason.receiveMaximum, 'more publishes are unanswered than Receive Maximum');
    else this.disconnect(...disconnectOf(ending));
  }

  /** Ends the connection; MQTT 5 says why. */
  disconnect(reasonCode: ReasonCode, message: string): void {
    this.#teller.disconnect(reasonCode, message);
  }

  #isOverReceiveMaximum(): boolean {
    const { receiveMaximum } = this.context.options;
    // What is refused waits for nothing, but its turn.
    if (this.#pending.count >= receiveMaximum) this.flush();
    return this.#pending.count >= receiveMaximum;
  }

  #takeRecords(topic: RecordsTopic, publish: Publish, payload: Buffer, then?: () => void): boolean {
    const { session } = this;
    const { ingest, options } = this.context;
    const receivedMs = this.context.clock.now();
    const { records, errors, bytes } = this.#reader.read(topic, publish, payload, receivedMs);
    if (this.transport.canPause && session.unackedBytes > 0 && session.unackedBytes + bytes > options.windowBytes) {
      this.#reader.undo();
      return false;
    }
    const unackedBefore = session.unackedBytes;
    for (const { seq, timeMs, source, start, end } of records) {
      // The session ends for want of room; a publish of which not all was taken is not answered.
      if (!ingest.take(session, topic.kind, seq, timeMs, receivedMs, source, start, end)) return true;
    }
    this.#taken += session.unackedBytes - unackedBefore;
    for (const [index, { code, message, seq }] of errors.entries()) {
      if (index < TOLD_ERRORS) this.error(code, message, seq);
      else this.context.metrics.rejected.inc({ reason: code });
    }
    const [first] = errors;
    if (first !== undefined) this.#answer(publish, { reason: Reason.badPayload, message: wordsOf(first) });
    else this.#answer(publish, then === undefined ? undefined : { reason: Reason.success, message: '', then });
    return true;
  }

  #takeShadowRequest({ verb, topic, named }: ShadowTopic, publish: Publish, payload: Buffer): boolean {
    const request = readShadowRequest(verb, named, payload);
    const { rejected, clientToken } = request;
    if (rejected !== undefined) {
      this.#reject(topic, ...rejected, clientToken);
      this.#refuse(publish, Reason.badPayload, rejected[1]);
      return true;
    }
    if (verb === 'get') {
      this.#get({ topic, clientToken });
      this.#answer(publish, undefined);
      return true;
    }
    const accepted = (): void => {
      this.#teller.tell(`${topic}/accepted`, () => acceptedUpdate(request, Date.now()));
    };
    return this.#takeRecords(AWS_UPDATE, publish, payload, accepted);
  }

  /** Answers a publish in its turn. */
  #answer({ packetId }: Publish, answer: Answer | undefined): void {
    if (packetId !== 0 || answer?.then !== undefined) this.#pending.add(packetId, this.#taken, answer);
  }

  #refuse(publish: Publish, reason: ReasonCode, message: string): void {
    this.context.metrics.rejected.inc({ reason: 'topic' });
    this.#teller.explain(this.#topics.errors, () => JSON.stringify({ code: 'refused', message }));
    this.#answer(publish, { reason, message });
  }

  #get(get: Get): void {
    if (this.#gets.length < MAX_GETS) this.#gets.push(get);
    else if (get.topic !== undefined) this.#reject(get.topic, 429, 'too many questions wait', get.clientToken);
    this.context.downlink.ask(this);
  }

  #takeGets(): readonly Get[] {
    const gets = this.#gets;
    this.#gets = [];
    return gets;
  }

  #reject(topic: string, code: number, message: string, clientToken: string | undefined): void {
    this.#teller.explain(`${topic}/rejected`, () => rejection(code, message, clientToken, Date.now()));
  }

  /** Shadow has told this connection everything, before the device listened: it has to be told again. */
  #announceAgain(): void {
    const { downlink, sessions } = this.context;
    if (sessions.find(this.deviceId) !== this) return;
    downlink.came(this.deviceId, this);
    // That has taken back its question, too.
    if (this.#gets.length > 0) downlink.ask(this);
  }

  #deliverDelta(delta: string, version: number): boolean {
    const { delta: own, awsDelta, attributes } = this.#topics;
    return this.#teller.tellAll([
      [own, () => `{"delta":${delta},"version":${version}}`],
      [awsDelta, () => deltaMessage(delta, version, Date.now())],
      [attributes, () => delta],
    ]);
  }

  #deliverCommand(command: string): boolean {
    const { id, name, data } = JSON.parse(command) as { id: string; name: string; data?: unknown };
    return this.#teller.tellAll([
      [this.#topics.commands, () => command],
      [rpcRequest(id), () => JSON.stringify({ method: name, params: data ?? {} })],
    ]);
  }

  #deliverShadow(shadow: string): boolean {
    const tellings = this.#takeGets().map(({ topic, clientToken }) => {
      if (topic === undefined) return this.#teller.tell(this.#topics.shadow, () => shadow);
      if (shadow === 'null') return this.#teller.tell(`${topic}/rejected`, () => noShadow(clientToken));
      return this.#teller.tell(`${topic}/accepted`, () => acceptedGet(shadow, clientToken));
    });
    return tellings.includes(true);
  }
}

const AWS_UPDATE: RecordsTopic = { action: 'records', kind: Kind.report, form: 'aws', commandId: '' };

function noShadow(clientToken: string | undefined): string {
  return rejection(404, 'this device has no shadow', clientToken, Date.now());
}

function wordsOf({ code, message }: RecordError): string {
  return `${code}: ${message}`;
}
