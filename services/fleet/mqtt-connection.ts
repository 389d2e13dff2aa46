/**
 * One device's MQTT 5 connection: records go as JSON with their seq and time, QoS 1, to the device's own topic, and a PUBACK
 * settles all records of its publish. As many publishes as the edge's Receive Maximum are unanswered; what is to be sent
 * beyond them waits and goes in fewer, longer publishes.
 *
 * Version 5, because 3.1.1 has no words for a publish that is refused: it would count as acked.
 */
import type { ConnectionOwner, DeviceIdentity, RecordRun } from './connection.js';
import type { MqttDialer } from './mqtt-dialer.js';
import {
  connectPacket,
  DISCONNECT,
  PacketType,
  PINGREQ,
  readConnack,
  readDisconnect,
  readPackets,
  readPuback,
} from './mqtt-packets.js';
import { partOf } from './record-messages.js';
import { StreamConnection } from './stream-connection.js';

const MAX_PACKET_ID = 65_535;
const FIRST_ERROR = 0x80;
const NOT_AUTHORISED = 0x87;
const BAD_TOPIC = 0x90;

export class MqttConnection extends StreamConnection {
  readonly #topic: string;
  #receiveMaximum = 0;
  /** What is to be sent, in order, without a gap; undefined: nothing. */
  #waiting: RecordRun | undefined;
  /** First and last seq of each publish that is not answered, in order. */
  #unanswered: number[] = [];
  /** Packet ids of the first of them, and of the next. */
  #firstId = 1;
  #nextId = 1;
  /** True where nothing was sent since the last turn of the keep alive. */
  #isQuiet = false;

  constructor(
    private readonly dialer: MqttDialer,
    device: DeviceIdentity,
    owner: ConnectionOwner,
  ) {
    super(dialer, device, owner);
    this.#topic = `holdfast/${device.id}/telemetry`;
  }

  override send(run: RecordRun): void {
    const waiting = this.#waiting;
    this.#waiting = waiting === undefined ? run : partOf(waiting, 0, waiting.count + run.count);
    this.#publish();
  }

  /** Called twice in a keep alive. */
  keepAlive(): void {
    if (this.#isQuiet && this.#receiveMaximum > 0) this.write(PINGREQ);
    this.#isQuiet = true;
  }

  /** True once nothing comes of it any more. */
  get isGone(): boolean {
    return this.isOver;
  }

  protected override connected(): void {
    this.write(connectPacket(this.device));
  }

  protected override goodbye(): Buffer | undefined {
    return this.#receiveMaximum > 0 ? DISCONNECT : undefined;
  }

  protected override consume(bytes: Buffer, end: number): number {
    const used = readPackets(bytes, end, (type, body, packet) => {
      this.#packet(type, body, packet);
      return !this.isOver;
    });
    return this.isOver ? end : used;
  }

  #packet(type: number, body: Buffer, packet: Buffer): void {
    switch (type) {
      case PacketType.connack:
        this.#connack(packet);
        break;
      case PacketType.puback:
        this.#puback(body);
        break;
      case PacketType.pingresp:
        break;
      case PacketType.disconnect:
        this.end(readDisconnect(packet));
        break;
      default:
        this.fail(`a packet of type ${type}`);
    }
  }

  #connack(packet: Buffer): void {
    const answer = readConnack(packet);
    if ('reason' in answer) {
      this.end(answer);
      return;
    }
    this.#receiveMaximum = answer.receiveMaximum;
    this.owner.opened(answer.receiveMaximum);
  }

  #puback(body: Buffer): void {
    const { packetId, reason } = readPuback(body);
    // A server answers in the order of the publishes (MQTT 5, 4.6).
    if (this.#unanswered.length === 0 || packetId !== this.#firstId) throw new Error(`a PUBACK of ${packetId}`);
    const [firstSeq, lastSeq] = this.#unanswered.splice(0, 2) as [number, number];
    this.#firstId = idAfter(packetId);
    if (reason < FIRST_ERROR) this.owner.acked(lastSeq);
    else this.#refused(firstSeq, lastSeq, reason);
    if (!this.isOver) this.#publish();
  }

  #refused(firstSeq: number, lastSeq: number, reason: number): void {
    const problem = `the edge answered a publish with 0x${reason.toString(16)}`;
    if (reason === NOT_AUTHORISED || reason === BAD_TOPIC) {
      this.end({ reason: problem, retryAfterMs: undefined, isRefused: true });
    } else {
      // Of several records some may be on disk.
      this.owner.refused(firstSeq === lastSeq ? firstSeq : undefined, problem);
    }
  }

  #publish(): void {
    const { messages } = this.dialer;
    while (this.#waiting !== undefined && this.#unanswered.length < 2 * this.#receiveMaximum) {
      const waiting = this.#waiting;
      const count = Math.min(waiting.count, messages.recordsPerMessage);
      const run = partOf(waiting, 0, count);
      this.#waiting = count === waiting.count ? undefined : partOf(waiting, count, waiting.count - count);
      this.#unanswered.push(run.firstSeq, run.firstSeq + count - 1);
      this.#isQuiet = false;
      if (!this.write(this.dialer.publish(this.#topic, this.#nextId, run))) messages.leaveBuffer();
      this.#nextId = idAfter(this.#nextId);
    }
  }
}

function idAfter(id: number): number {
  return id === MAX_PACKET_ID ? 1 : id + 1;
}
