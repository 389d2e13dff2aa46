/**
 * One connection that speaks MQTT, from its first byte: CONNECT within a time, then its packets one by one, then its end.
 *
 * Where a publish finds no room the reading stops, and goes on where it stopped once there is some.
 */
import type { IConnectPacket, ISubscribePacket, IUnsubscribePacket } from './control-packets.js';
import { PacketType, readConnect, readPacket, writePacket, type Version } from './control-packets.js';
import { admitConnect, refusal, welcome, type ConnectRefusal, type Terms } from './connect.js';
import { MqttConnection } from './connection.js';
import type { MqttContext } from './context.js';
import { PacketReader } from './packet-reader.js';
import { Publish } from './publish.js';
import { ProtocolError, Reason } from './reasons.js';
import type { Transport } from './transport.js';

/** What somebody may send before it was let in. */
const CONNECT_BYTES = 16 * 1024;
/** A connection is given up after so many times its keep alive (MQTT 5, §3.1.2.10). */
const KEEP_ALIVE_FACTOR = 1.5;
const PINGRESP = Buffer.of(0xd0, 0);
/** CONNACK of 3.1.1, return code 1: unacceptable protocol version. */
const BAD_VERSION = Buffer.of(0x20, 2, 0, 1);

const publish = new Publish();

export class Link {
  readonly #reader = new PacketReader(CONNECT_BYTES);
  #connection: MqttConnection | undefined;
  #timer: NodeJS.Timeout | undefined;
  #heardMs = 0;
  #isPaused = false;
  #isOver = false;

  constructor(
    private readonly transport: Transport,
    private readonly context: MqttContext,
  ) {
    context.door.enter(transport);
  }

  /** Bytes have come. They are read before this returns, or copied, or kept where reading is put off. */
  data(chunk: Buffer): void {
    if (this.#isOver) return;
    this.#heardMs = performance.now();
    this.#reader.feed(chunk);
    this.#read();
  }

  /** The connection is gone, whoever ended it. */
  closed(): void {
    this.#isOver = true;
    this.context.door.leave(this.transport);
    clearTimeout(this.#timer);
    if (this.#connection !== undefined) this.context.sessions.closed(this.#connection);
  }

  #read(): void {
    try {
      if (!this.#readPackets()) {
        if (!this.#isPaused) this.transport.pause();
        this.#isPaused = true;
      } else {
        this.#reader.keep();
        if (this.#isPaused) this.transport.resume();
        this.#isPaused = false;
      }
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#fail(error);
    }
    this.#connection?.flush();
  }

  /** @returns false where the next packet has to wait for room */
  #readPackets(): boolean {
    const reader = this.#reader;
    while (!this.#isOver && reader.next()) {
      if (this.#connection === undefined) {
        this.#connect();
      } else if (!this.#connection.session.isTaking) {
        // It is being sent away; nothing more is taken.
        continue;
      } else if (!this.#packet(this.#connection)) {
        reader.unread();
        return false;
      }
    }
    return true;
  }

  /** @returns false where it has to come again */
  #packet(connection: MqttConnection): boolean {
    const { bytes, start, body, end } = this.#reader;
    const first = bytes[start]!;
    const { version } = connection.terms;
    if (first >> 4 === PacketType.publish) {
      publish.read(bytes, first, body, end, version);
      return connection.publish(publish, bytes);
    }
    switch (first >> 4) {
      case PacketType.pingreq:
        this.transport.send(PINGRESP);
        return true;
      case PacketType.subscribe:
        connection.subscribe(readPacket(bytes.subarray(start, end), version) as ISubscribePacket);
        return true;
      case PacketType.unsubscribe:
        connection.unsubscribe(readPacket(bytes.subarray(start, end), version) as IUnsubscribePacket);
        return true;
      case PacketType.disconnect:
        this.#goodbye(connection, body < end ? bytes[body]! : Reason.success);
        return true;
      case PacketType.puback:
        // Nothing goes down with QoS 1, so it answers nothing, and harms nobody.
        return true;
      default:
        throw new ProtocolError(Reason.protocolError, `a device does not send packets of type ${first >> 4} here`);
    }
  }

  #connect(): void {
    const { bytes, start, body, end } = this.#reader;
    if (bytes[start] !== PacketType.connect << 4) {
      // Whoever begins with anything else does not speak MQTT.
      this.#isOver = true;
      this.transport.destroy();
      return;
    }
    const connect = readConnect(bytes.subarray(start, end), body - start);
    const terms = admitConnect(connect, this.context.admission);
    if ('code' in terms) this.#refuse(terms, connect.protocolVersion);
    else this.#letIn(connect, terms);
  }

  #letIn(connect: IConnectPacket & { readonly protocolVersion: Version }, terms: Terms): void {
    const { options, sessions } = this.context;
    this.#reader.limit = options.frameBytes;
    this.#connection = new MqttConnection(terms, this.context, this.transport, () => {
      if (this.#isPaused) this.#read();
    });
    this.context.door.leave(this.transport);
    if (terms.keepAliveSeconds > 0) this.#watch(terms.keepAliveSeconds * KEEP_ALIVE_FACTOR * 1_000);
    this.transport.send(writePacket(welcome(connect, terms, options), terms.version));
    sessions.opened(this.#connection);
  }

  #refuse(why: ConnectRefusal, version: Version): void {
    this.#isOver = true;
    this.context.metrics.rejected.inc({ reason: why.label });
    this.transport.send(writePacket(refusal(why, version), version));
    this.transport.end();
  }

  #goodbye(connection: MqttConnection, reason: number): void {
    this.#isOver = true;
    if (reason !== Reason.willAfterDisconnect) connection.will = undefined;
    this.transport.end();
  }

  /** Ends the connection over something that the device did. */
  #fail(error: ProtocolError): void {
    this.#isOver = true;
    this.context.metrics.rejected.inc({ reason: 'protocol' });
    if (this.#connection !== undefined) {
      this.#connection.flush();
      this.#connection.disconnect(error.reason, error.message);
      return;
    }
    // All versions read a CONNACK of 3.1.1 that says so; other bad CONNECTs get no answer.
    if (error.reason === Reason.unsupportedVersion) this.transport.send(BAD_VERSION);
    this.transport.end();
  }

  /** One timer for each silence, and not for each packet. */
  #watch(silenceMs: number): void {
    const check = (): void => {
      const leftMs = this.#heardMs + silenceMs - performance.now();
      // Where its reading is put off, nobody can say that it is silent.
      if (leftMs > 0 || this.#isPaused) {
        this.#timer = setTimeout(check, Math.max(leftMs, silenceMs / 4));
        return;
      }
      this.#isOver = true;
      this.#connection?.disconnect(Reason.keepAliveTimeout, `nothing was heard for ${silenceMs} ms`);
    };
    this.#timer = setTimeout(check, silenceMs);
  }
}
