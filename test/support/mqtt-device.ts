/**
 * A device that speaks MQTT as a test needs it: sends any packet or any bytes, right or wrong, and keeps every packet that
 * comes back. Real clients keep to the rules, and hide what they are told.
 */
import mqttPacket, { type IConnackPacket, type IConnectPacket, type IPublishPacket, type Packet } from 'mqtt-packet';
import { Changes } from './changes.js';
import type { Carrier, Dial } from './mqtt-carrier.js';

export interface Published {
  readonly topic: string;
  readonly value: Record<string, unknown>;
}

export class MqttDevice {
  /** Every packet, in order, CONNACK first. */
  readonly packets: Packet[] = [];
  readonly #changes = new Changes(() => this.packets);
  #carrier: Carrier | undefined;
  #isClosed = false;

  private constructor(
    readonly version: 4 | 5,
    /** Empty where nothing is said yet. */
    readonly id: string,
  ) {}

  /** A connection on which nothing is said yet. */
  static async raw(dial: Dial, version: 4 | 5 = 5, deviceId = ''): Promise<MqttDevice> {
    const device = new MqttDevice(version, deviceId);
    const parser = mqttPacket.parser({ protocolVersion: version });
    parser.on('packet', (packet) => device.packets.push(packet));
    device.#carrier = await dial({
      bytes: (chunk) => {
        parser.parse(chunk);
        device.#changes.wake();
      },
      closed: () => {
        device.#isClosed = true;
        device.#changes.wake();
      },
    });
    return device;
  }

  /** Connects, and waits for CONNACK, whatever it says. */
  static async open(
    dial: Dial,
    deviceId: string,
    version: 4 | 5 = 5,
    more: Partial<IConnectPacket> = {},
  ): Promise<MqttDevice> {
    const device = await MqttDevice.raw(dial, version, deviceId);
    device.send(connectPacket(deviceId, version, more));
    await device.until(() => device.packets.length > 0);
    return device;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  get connack(): IConnackPacket {
    return this.of('connack')[0]!;
  }

  /** The reason code of the DISCONNECT that has come. */
  get disconnectReason(): number | undefined {
    return this.of('disconnect')[0]?.reasonCode;
  }

  /** What was published to this device. */
  get published(): Published[] {
    return this.of('publish').map(({ topic, payload }) => ({
      topic,
      value: JSON.parse(payload.toString()) as Record<string, unknown>,
    }));
  }

  /** The packet ids of the PUBACKs, in order. */
  get acked(): number[] {
    return this.of('puback').map(({ messageId }) => messageId!);
  }

  of<C extends Packet['cmd']>(cmd: C): Extract<Packet, { readonly cmd: C }>[] {
    return this.packets.filter((packet): packet is Extract<Packet, { readonly cmd: C }> => packet.cmd === cmd);
  }

  send(packet: Packet | Buffer): void {
    const bytes = Buffer.isBuffer(packet) ? packet : mqttPacket.generate(packet, { protocolVersion: this.version });
    this.#carrier!.write(bytes);
  }

  /** Publishes with QoS 1, or 0 where the packet id is 0. */
  publish(topic: string, payload: unknown, messageId: number, more: Partial<IPublishPacket> = {}): void {
    this.send(publishPacket(topic, payload, messageId, more));
  }

  /** Subscribes, and waits for the SUBACK. @returns its codes */
  async subscribe(...topics: string[]): Promise<number[]> {
    const before = this.of('suback').length;
    const subscriptions = topics.map((topic) => ({ topic, qos: 1 as const }));
    this.send({ cmd: 'subscribe', messageId: 60_000 + before, subscriptions });
    await this.until(() => this.of('suback').length > before);
    return this.of('suback').at(-1)!.granted as number[];
  }

  /** Waits for PUBACKs of all these. */
  async untilAcked(...messageIds: number[]): Promise<void> {
    await this.until(() => messageIds.every((messageId) => this.acked.includes(messageId)));
  }

  /** The reason code of a PUBACK. */
  reasonOf(messageId: number): number | undefined {
    return this.of('puback').find((packet) => packet.messageId === messageId)?.reasonCode;
  }

  /** Waits until `condition` holds. @throws Error where the connection closes before, or nothing is heard for long */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      if (this.#isClosed) throw new Error(`the connection closed: ${JSON.stringify(this.packets.slice(-3))}`);
      await this.#changes.next();
    }
  }

  async closed(): Promise<void> {
    while (!this.#isClosed) await this.#changes.next();
  }

  /** Says goodbye. */
  async close(): Promise<void> {
    if (!this.#isClosed) this.send({ cmd: 'disconnect' });
    await this.closed();
  }

  /** Breaks the connection without a word. */
  destroy(): void {
    this.#carrier!.destroy();
  }

  /** Reads nothing more from the connection. */
  pause(): void {
    this.#carrier!.pause();
  }

  resume(): void {
    this.#carrier!.resume();
  }
}

export function connectPacket(
  deviceId: string,
  version: 4 | 5 = 5,
  more: Partial<IConnectPacket> = {},
): IConnectPacket {
  const fixed = { cmd: 'connect', protocolId: 'MQTT', clean: true, keepalive: 0 } as const;
  return { ...fixed, protocolVersion: version, clientId: deviceId, ...more };
}

/** A PUBLISH, with QoS 0 where the packet id is 0; a payload that is neither text nor bytes as JSON. */
export function publishPacket(
  topic: string,
  payload: unknown,
  messageId: number,
  more: Partial<IPublishPacket> = {},
): IPublishPacket {
  const bytes = typeof payload === 'string' || Buffer.isBuffer(payload) ? payload : JSON.stringify(payload);
  const qos = messageId === 0 ? 0 : 1;
  return { cmd: 'publish', topic, payload: bytes, qos, dup: false, retain: false, messageId, ...more };
}
