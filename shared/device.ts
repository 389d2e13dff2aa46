/**
 * A device, for Node: sends records to an edge and keeps each until the edge has said that it is durable.
 *
 *   const device = new Device({ url: 'ws://127.0.0.1:7300', id: 'press-1' });
 *   device.connect();
 *   device.send({ temperature: 80.5 });
 *   await device.flushed();
 *   await device.close();
 *
 * Every record gets a seq and a time of its own when it is sent, and keeps both however often it travels: they are the key
 * by which the database stores it once. An ack is cumulative; after a reconnect everything that is not acked is sent again,
 * in order. No more is under way than the window that the edge grants. A record that the edge refuses is told
 * (`refused`), dropped and never sent again.
 *
 * Records wait in memory, or, with `buffer.directory`, in files that survive the process (device/file-buffer.ts says
 * what that covers); both are bounded, and send() throws where the bound is reached. The seq goes on over reconnects and,
 * with files, over restarts; without files it begins at 1 with the process.
 *
 * Reconnects wait with full jitter between 0 and a doubling bound, plus what the edge asked for (close 1013
 * `retry-after:<ms>`, Retry-After of 429 and 503). An edge that refuses the device for good (4xx) is asked again minutes
 * later only; a device whose session another one took over (4409) stays away until connect() is called again.
 */
import { EventEmitter } from 'node:events';
import { encodeJsonMessage, type DownMessage } from './device-frames.js';
import { Backoff } from './device/backoff.js';
import type { RecordBuffer } from './device/buffer.js';
import { openBuffer, readOptions } from './device/options.js';
import type { DeviceEvents, DeviceOptions, DeviceSettings, SendOptions } from './device/options.js';
import { Outbox } from './device/outbox.js';
import { checkTime, encodePayload } from './device/payload.js';
import { Session, type SessionEnd } from './device/session.js';
import { Waiters } from './device/waiters.js';
import { HoldfastError, messageOf } from './errors.js';

export type { DeviceCommand, DeviceKind } from './device-frames.js';
export type { BufferOptions, DeviceEvents, DeviceOptions, SendOptions } from './device/options.js';
export type { DeviceProtocol } from './device/session.js';

/** The close code by which an edge says that a newer session of the same device is served. */
const TAKEN_OVER = 4409;
/** Between attempts at an edge that refuses this device: half of it to all of it. */
const REFUSED_WAIT_MS = 300_000;

export class Device extends EventEmitter<DeviceEvents> {
  readonly id: string;
  readonly #settings: DeviceSettings;
  readonly #token: string | undefined;
  readonly #buffer: RecordBuffer;
  readonly #backoff: Backoff;
  readonly #outbox: Outbox;
  #state: 'away' | 'wanted' | 'closed' = 'away';
  #session: Session | undefined;
  #open = false;
  #openedMs = 0;
  #scheduled = false;
  #retry: NodeJS.Timeout | undefined;
  readonly #flushing = new Waiters();
  #ended: (() => void) | undefined;

  /** @throws HoldfastError bad_config */
  constructor(options: DeviceOptions) {
    super();
    this.id = options.id;
    this.#settings = readOptions(options);
    this.#token = options.token;
    this.#buffer = openBuffer(options.buffer ?? {});
    this.#backoff = new Backoff(this.#settings.minBackoffMs, this.#settings.maxBackoffMs);
    this.#outbox = new Outbox(this.#buffer, options.id, this.#settings.maxMessageBytes);
  }

  /** Every record through this seq is durable at the edge, or was refused. */
  get acked(): number {
    return this.#buffer.acked;
  }

  /** How many records are neither acked nor refused. */
  get unacked(): number {
    return this.#buffer.unacked;
  }

  /** The seq of the last record; 0: none was ever sent. */
  get lastSeq(): number {
    return this.#buffer.lastSeq;
  }

  /** Bytes of the file buffer that were found damaged; the records in them are gone. */
  get damagedBytes(): number {
    return this.#buffer.damagedBytes;
  }

  /** True between the edge's hello and the end of the connection. */
  get connected(): boolean {
    return this.#open;
  }

  /**
   * Connects, and from then on connects again whenever the connection ends. On a connected device it does nothing.
   * @throws HoldfastError device_closed
   */
  connect(): void {
    this.#assertNotClosed();
    this.#state = 'wanted';
    if (this.#session === undefined && this.#retry === undefined) this.#connect();
  }

  /**
   * Keeps a record and sends it as soon as there is a connection with room for it.
   * @param data what JSON can hold; a Uint8Array is taken as JSON text in UTF-8 that is encoded already
   * @returns the record's seq
   * @throws HoldfastError buffer_full until records are acked; bad_record; device_closed; disk_low
   */
  send(data: unknown, options: SendOptions = {}): number {
    this.#assertNotClosed();
    const { time = Date.now(), kind = 'telemetry' } = options;
    const payload = encodePayload(data, this.#settings.protocol === 'json');
    const seq = this.#buffer.append(kind, checkTime(time), payload);
    this.#schedule();
    return seq;
  }

  /**
   * Resolves once every record is acked or refused.
   * @throws HoldfastError device_closed where the device is closed, or taken over, before that
   */
  async flushed(): Promise<void> {
    if (this.#buffer.unacked === 0) return;
    this.#assertNotClosed();
    await this.#flushing.wait();
  }

  /** Ends the connection; what is not acked stays in a file buffer for the next process, and is gone from memory. */
  async close(): Promise<void> {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    clearTimeout(this.#retry);
    this.#giveUp(`device ${this.id} was closed with ${this.#buffer.unacked} records unacked`);
    const session = this.#session;
    if (session !== undefined) {
      const ended = new Promise<void>((resolve) => (this.#ended = resolve));
      session.close();
      await ended;
    }
    this.#buffer.close();
  }

  #connect(): void {
    this.#retry = undefined;
    const { url, protocol } = this.#settings;
    this.#session = new Session(
      { url, protocol, token: this.#token },
      (message) => this.#receive(message),
      (end) => this.#sessionEnded(end),
    );
  }

  #receive(message: DownMessage): void {
    switch (message.type) {
      case 'hello':
        this.#open = true;
        this.#openedMs = performance.now();
        this.#outbox.begin(message.windowBytes);
        this.emit('open');
        break;
      case 'ack':
        this.#acked(Math.min(message.seq, this.#outbox.sent));
        break;
      case 'error':
        this.#refused(message.seq, message.code, message.message);
        break;
      case 'delta':
        this.emit('delta', message.delta, message.version);
        break;
      case 'command':
        this.emit('command', message.command);
        break;
    }
    this.#pump();
  }

  #acked(seq: number): void {
    this.#backoff.reset();
    this.#outbox.settleThrough(seq);
    if (seq <= this.#buffer.acked) return;
    this.#buffer.ack(seq);
    this.emit('ack', seq);
    this.#settled();
  }

  /** An error without a seq is about the only record under way, where there is only one. */
  #refused(given: number | undefined, code: string, message: string): void {
    const seq = given ?? this.#outbox.onlySeq;
    if (seq === undefined || seq > this.#outbox.sent || !this.#drop(seq)) {
      this.emit('complaint', code, message);
      if (given === undefined && this.#outbox.underWay > 0) this.#sendSingly();
      return;
    }
    this.#backoff.reset();
    this.#outbox.settle(seq);
    this.emit('refused', seq, code, message);
    this.#settled();
  }

  /**
   * The edge has refused a whole message (one that is too large for it, say), and its next ack may pass over every record in
   * it. Believing that ack would lose them: the session is cut, and what was under way is sent again, one record at a time.
   */
  #sendSingly(): void {
    this.#outbox.sendSingly();
    this.#open = false;
    this.#session?.cut();
  }

  #drop(seq: number): boolean {
    try {
      return this.#buffer.drop(seq);
    } catch (error) {
      // The record comes back with the next process and is refused again.
      this.#fail('disk_low', messageOf(error), error);
      return false;
    }
  }

  #settled(): void {
    if (this.#buffer.unacked === 0) this.#flushing.resolve();
  }

  /** Records that are sent in one turn of the event loop travel in one message. */
  #schedule(): void {
    if (this.#scheduled || !this.#open) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      this.#pump();
    });
  }

  #pump(): void {
    const binary = this.#settings.protocol === 'binary';
    while (this.#open && this.#state === 'wanted') {
      const frames = this.#outbox.next();
      if (frames.length === 0) break;
      this.#session?.send(binary ? Buffer.concat(frames) : encodeJsonMessage(frames));
    }
    // Reading may have found that the records left were damaged, and are gone.
    this.#settled();
  }

  #sessionEnded(end: SessionEnd): void {
    const settled = this.#open && performance.now() - this.#openedMs > this.#settings.maxBackoffMs;
    if (settled) this.#backoff.reset();
    this.#session = undefined;
    this.#open = false;
    if (this.#state === 'closed') {
      this.emit('close', end.code, end.reason, undefined);
      this.#ended?.();
      return;
    }
    if (end.code === TAKEN_OVER) {
      this.#state = 'away';
      const message = `another session of device ${this.id} took over; connect() takes it back`;
      this.emit('close', end.code, end.reason, undefined);
      this.#giveUp(message);
      this.#fail('device_closed', message);
      return;
    }
    const jitter = end.isRefused ? REFUSED_WAIT_MS * (0.5 + Math.random() / 2) : this.#backoff.next();
    const waitMs = Math.round((end.retryAfterMs ?? 0) + jitter);
    this.#retry = setTimeout(() => this.#connect(), waitMs);
    this.emit('close', end.code, end.reason, waitMs);
    if (end.isRefused)
      this.#fail('device_refused', `device ${this.id} is refused: ${end.reason}; check its id and token`);
  }

  #giveUp(message: string): void {
    this.#flushing.reject(new HoldfastError('device_closed', message, false));
  }

  #fail(code: 'device_refused' | 'device_closed' | 'disk_low', message: string, cause?: unknown): void {
    this.emit('error', new HoldfastError(code, message, true, cause));
  }

  #assertNotClosed(): void {
    if (this.#state !== 'closed') return;
    throw new HoldfastError('device_closed', `device ${this.id} is closed`, false);
  }
}
