/** Shadow's end of the downlink in this process: a real XPUB socket that notes what edges say and sends what it is told to. */
import { XPublisher } from 'zeromq';
import { decodeUplink, DownlinkType, encodeDownlink, type UplinkMessage } from '../../shared/downlink-frames.js';
import { SOCKET_OPTIONS } from '../../shared/links.js';
import { until } from './processes.js';

export class TestDownlink {
  /** Everything that was heard, in order. */
  readonly heard: UplinkMessage[] = [];
  /** The devices whose subscription stands, with how often each was subscribed. */
  readonly subscribed = new Map<string, number>();
  /** Frames that were none of the three. */
  malformed = 0;
  readonly #socket = new XPublisher({ ...SOCKET_OPTIONS, sendHighWaterMark: 100_000 });
  #receiving: Promise<void> | undefined;

  static async listen(port: number): Promise<TestDownlink> {
    const downlink = new TestDownlink();
    downlink.#socket.verbosity = 'allSubsUnsubs';
    await downlink.#socket.bind(`tcp://127.0.0.1:${port}`);
    downlink.#receiving = downlink.#receive();
    return downlink;
  }

  /** What was heard of one device, in order. */
  of(deviceId: string): UplinkMessage['type'][] {
    return this.heard.filter((message) => message.deviceId === deviceId).map(({ type }) => type);
  }

  async untilSubscribed(...deviceIds: string[]): Promise<void> {
    await until(() => deviceIds.every((deviceId) => this.subscribed.has(deviceId)));
  }

  async delta(deviceId: string, delta: unknown, version: number): Promise<void> {
    await this.send(encodeDownlink(deviceId, DownlinkType.delta, version, JSON.stringify(delta)));
  }

  async command(deviceId: string, command: unknown): Promise<void> {
    await this.send(encodeDownlink(deviceId, DownlinkType.command, 0, JSON.stringify(command)));
  }

  async shadow(deviceId: string, shadow: unknown): Promise<void> {
    await this.send(encodeDownlink(deviceId, DownlinkType.shadow, 0, JSON.stringify(shadow)));
  }

  /** Sends any frames; the first must begin with the topic of a device that is subscribed, or nobody gets them. */
  async send(...frames: readonly Buffer[]): Promise<void> {
    await this.#socket.send([...frames]);
  }

  async close(): Promise<void> {
    this.#socket.close();
    await this.#receiving;
  }

  async #receive(): Promise<void> {
    for await (const [frame] of this.#socket) {
      const message = frame === undefined ? undefined : decodeUplink(frame);
      if (message === undefined) {
        this.malformed++;
        continue;
      }
      const { type, deviceId } = message;
      this.heard.push(message);
      if (type === 'subscribe') this.subscribed.set(deviceId, (this.subscribed.get(deviceId) ?? 0) + 1);
      if (type === 'cancel') this.subscribed.delete(deviceId);
    }
  }
}
