/**
 * Shadow's end of the downlink: an XPUB socket that hears which devices are connected to which edge, and sends to them.
 * The frames stand in shared/downlink-frames.ts; what is sent, and when, is notify.ts.
 *
 * Who is here. A device may be subscribed to by two edges at once, while it moves, so subscriptions are counted. For that
 * each must be heard: `verbosity: 'allSubsUnsubs'` (libzmq's XPUB_VERBOSER); without it ZeroMQ tells of the first and the
 * last only. The edge takes a device's subscription back before it gives it anew, and when an edge's connection ends ZeroMQ
 * cancels whatever it had, so the count is right whichever side dies. For that it walks all topics: about a second for a
 * million, in which this process does nothing else.
 *
 * A slow edge. At its high-water mark ZeroMQ would drop silently, and a device would not learn what shadow believes it
 * was told; so `noDrop` is set. libzmq then looks at the pipes of the edges that have this topic only, and refuses the
 * message (EAGAIN) where one of them is full; it never waits, because an XPUB socket always counts as writable, and
 * zeromq.js rejects the send at once. So an edge that does not read costs the devices of other edges nothing, and the
 * refused device is told later (notify.ts). An edge that does not read at all stops answering heartbeats too: it is
 * cut off after some 4 s, its devices are cancelled, and they subscribe again when it is back. Until then
 * SEND_MESSAGES messages may wait for it, of at most 64 KiB each (commands.ts), and mostly some hundred bytes.
 */
import { XPublisher } from 'zeromq';
import { decodeUplink, encodeDownlink, type DownlinkType } from '../../shared/downlink-frames.js';
import { HoldfastError, messageOf } from '../../shared/errors.js';
import type { Part } from '../../shared/lifecycle.js';
import { PUBLISHING_OPTIONS } from '../../shared/links.js';
import { LimitedLog } from '../../shared/limited-log.js';
import type { Logger } from '../../shared/log.js';
import { Connection } from './connection.js';
import type { DownlinkMetrics } from './downlink-metrics.js';

/** What happens on the downlink. The listeners must not throw. */
export interface DownlinkListener {
  /** A device has opened a connection, which was given nothing yet. */
  onArrival?(connection: Connection): void;
  /** No edge has the device any more. */
  onDeparture?(deviceId: string): void;
  /** A device has asked for its shadow. */
  onQuestion?(connection: Connection): void;
}

/** Messages that may wait for one edge before more are refused. */
const SEND_MESSAGES = 2_000;
/** Edges send device ids, and nothing that is longer. */
const UPLINK_BYTES = 1_024;
const DEVICE_ID = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$/;

export class Downlink implements Part {
  readonly name = 'downlink';
  readonly #socket = new XPublisher({
    ...PUBLISHING_OPTIONS,
    maxMessageSize: UPLINK_BYTES,
    noDrop: true,
    // All that comes is read at once, so that no heartbeat meets a full receive queue; see RECEIVING_OPTIONS.
    receiveHighWaterMark: 0,
    sendHighWaterMark: SEND_MESSAGES,
    verbosity: 'allSubsUnsubs',
  });
  readonly #connections = new Map<string, Connection>();
  readonly #listeners: DownlinkListener[] = [];
  readonly #faults: LimitedLog;
  #receiving: Promise<void> | undefined;
  #stopped = false;

  /** @param onFailure called where the socket fails: the process must end */
  constructor(
    private readonly endpoint: string,
    private readonly metrics: DownlinkMetrics,
    log: Logger,
    private readonly onFailure: (error: unknown) => void,
  ) {
    this.#faults = new LimitedLog(log);
  }

  /** Adds somebody who is told of what happens; to be called before start(). */
  listen(listener: DownlinkListener): void {
    this.#listeners.push(listener);
  }

  /** @throws HoldfastError listen_failed */
  async start(): Promise<void> {
    try {
      await this.#socket.bind(this.endpoint);
    } catch (error) {
      const message = `cannot listen on ${this.endpoint} for edges: ${messageOf(error)}`;
      throw new HoldfastError('listen_failed', message, true, error);
    }
    this.#receiving = this.#receive().catch((error: unknown) => {
      if (!this.#stopped) this.onFailure(error);
    });
  }

  /** What is sent from now on is not. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#socket.close();
    await this.#receiving;
  }

  /** How many devices are here. */
  get devices(): number {
    return this.#connections.size;
  }

  /** The current connection of a device; undefined where it is not here. */
  find(deviceId: string): Connection | undefined {
    return this.#connections.get(deviceId);
  }

  /**
   * Sends to a device that is here; one message at a time. A device that has gone meanwhile gets nothing, and that is no
   * error.
   * @param version of the shadow that a delta belongs to; 0 otherwise
   * @param payload JSON
   * @returns false, with nothing sent, where its edge has no room for more now, or the downlink is stopped
   */
  async send(deviceId: string, type: DownlinkType, version: number, payload: string): Promise<boolean> {
    if (this.#stopped) return false;
    try {
      await this.#socket.send(encodeDownlink(deviceId, type, version, payload));
    } catch (error) {
      // A send that zeromq.js had put off fails when the socket is closed under it.
      if (this.#isStopped()) return false;
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
      this.metrics.unsent.inc();
      return false;
    }
    this.metrics.sent(type);
    return true;
  }

  #isStopped(): boolean {
    return this.#stopped;
  }

  async #receive(): Promise<void> {
    // zeromq.js lets the event loop turn after some hundred messages, so a storm of subscriptions does not block it.
    for await (const frames of this.#socket) this.#take(frames);
  }

  #take(frames: readonly Buffer[]): void {
    const [frame] = frames;
    const message = frame === undefined || frames.length > 1 ? undefined : decodeUplink(frame);
    if (message === undefined || !DEVICE_ID.test(message.deviceId)) this.#malformed(frames);
    else if (message.type === 'subscribe') this.#subscribed(message.deviceId);
    else if (message.type === 'cancel') this.#cancelled(message.deviceId);
    else this.#asked(message.deviceId);
  }

  #subscribed(deviceId: string): void {
    const before = this.#connections.get(deviceId);
    // The id of before, so that the map's key and the connection share one string.
    const connection = new Connection(before?.deviceId ?? deviceId, (before?.subscriptions ?? 0) + 1);
    this.#connections.set(connection.deviceId, connection);
    for (const listener of this.#listeners) listener.onArrival?.(connection);
  }

  #cancelled(deviceId: string): void {
    const connection = this.#connections.get(deviceId);
    // One that makes no sense, or was malformed before, has no connection.
    if (connection === undefined) return;
    connection.subscriptions--;
    if (connection.subscriptions > 0) return;
    this.#connections.delete(deviceId);
    for (const listener of this.#listeners) listener.onDeparture?.(deviceId);
  }

  #asked(deviceId: string): void {
    this.metrics.questions.inc();
    const connection = this.#connections.get(deviceId);
    // It has gone since, and nobody waits for the answer.
    if (connection === undefined) return;
    connection.asked = true;
    for (const listener of this.#listeners) listener.onQuestion?.(connection);
  }

  #malformed(frames: readonly Buffer[]): void {
    this.metrics.malformed.inc();
    const sizes = frames.slice(0, 4).map(({ length }) => length);
    this.#faults.tell('warn', { frames: frames.length, sizes }, 'passed over a message of an edge that makes no sense');
  }
}
