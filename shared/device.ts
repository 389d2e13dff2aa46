/**
 * A device, for Node: sends records to an edge and keeps each until the edge has said that it is durable; does what it is
 * told to.
 *
 *   const device = new Device({ url: 'ws://127.0.0.1:7300', id: 'press-1' });
 *   device.onDelta(({ throttle }) => ({ throttle: setThrottle(throttle) }));
 *   device.onCommand(({ name, data }) => perform(name, data));
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
 * A command is done once, however often it arrives (device/commands.ts says what that covers), and answered with a record;
 * what a delta asks for is done and reported (device/deltas.ts). The connection comes back by itself (device/link.ts says
 * when), but not after another session took over (4409): then the device stays away until connect() is called again.
 */
import { EventEmitter } from 'node:events';
import { encodeQuestion, type DeviceKind, type DownMessage, type JsonObject } from './device-frames.js';
import type { RecordBuffer } from './device/buffer.js';
import type { CommandHandler } from './device/commands.js';
import type { DeltaHandler } from './device/deltas.js';
import { Link, TAKEN_OVER } from './device/link.js';
import { openBuffer, readOptions } from './device/options.js';
import type { DeviceEvents, DeviceOptions, DeviceSettings, SendOptions } from './device/options.js';
import { Outbox } from './device/outbox.js';
import { checkTime, encodePayload } from './device/payload.js';
import { Pump } from './device/pump.js';
import { Requests } from './device/requests.js';
import type { SessionEnd } from './device/session.js';
import { shadowAway } from './device/shadow-question.js';
import { Waiters } from './device/waiters.js';
import { HoldfastError, messageOf } from './errors.js';

export type { DeviceCommand, DeviceKind, JsonObject } from './device-frames.js';
export { CommandRejected, type CommandHandler } from './device/commands.js';
export type { DeltaHandler } from './device/deltas.js';
export type { BufferOptions, DeviceEvents, DeviceOptions, SendOptions } from './device/options.js';
export type { DeviceProtocol } from './device/session.js';

export class Device extends EventEmitter<DeviceEvents> {
  readonly id: string;
  readonly #settings: DeviceSettings;
  readonly #buffer: RecordBuffer;
  readonly #outbox: Outbox;
  readonly #link: Link;
  readonly #pump: Pump;
  readonly #requests: Requests;
  readonly #flushing = new Waiters();
  #closed = false;

  /** @throws HoldfastError bad_config */
  constructor(options: DeviceOptions) {
    super();
    this.id = options.id;
    this.#settings = readOptions(options);
    const buffer = openBuffer(options.buffer ?? {});
    this.#buffer = buffer;
    this.#outbox = new Outbox(buffer, options.id, this.#settings.maxMessageBytes);
    this.#link = new Link(
      this.#settings,
      options.token,
      (message) => this.#receive(message),
      (end, retryInMs) => this.#sessionEnded(end, retryInMs),
    );
    // Reading may have found that the records left were damaged, and are gone.
    this.#pump = new Pump(this.#outbox, this.#link, this.#isBinary, () => this.#settled());
    const owner = {
      buffer,
      send: (data: unknown, kind: DeviceKind) => this.send(data, { kind }),
      ask: () => this.#link.send(encodeQuestion(this.#isBinary)),
      // What a handler's answer meets after the end goes with the device.
      onError: (error: HoldfastError) => {
        if (!this.#closed) this.emit('error', error);
      },
    };
    this.#requests = new Requests(owner, options.buffer ?? {});
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
    return this.#link.open;
  }

  /**
   * Connects, and from then on connects again whenever the connection ends. On a connected device it does nothing.
   * @throws HoldfastError device_closed
   */
  connect(): void {
    this.#assertNotClosed();
    this.#link.connect();
  }

  /**
   * Ends the connection and stays away until connect() is called; records are kept, and more are taken. Resolves once the
   * connection is over.
   */
  async disconnect(): Promise<void> {
    this.#giveUp(`device ${this.id} was disconnected with ${this.#buffer.unacked} records unacked`);
    await this.#link.disconnect();
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
    const payload = encodePayload(data, !this.#isBinary);
    const seq = this.#buffer.append(kind, checkTime(time), payload);
    this.#pump.schedule();
    return seq;
  }

  /**
   * Reports a part of the device's state, which its shadow merges into what was reported before: null removes a member.
   * @param state null removes all that was reported
   * @returns the record's seq
   * @throws HoldfastError as send
   */
  report(state: JsonObject | null): number {
    return this.#requests.report(state);
  }

  /** What does commands, in place of what did before; to be set before connect(). */
  onCommand(handler: CommandHandler): void {
    this.#requests.commands.handle(handler);
  }

  /** What does deltas, in place of what did before; to be set before connect(). */
  onDelta(handler: DeltaHandler): void {
    this.#requests.deltas.handle(handler);
  }

  /**
   * Asks for the device's shadow. The answer is as of a moment ago: reports that are under way may be missing in it.
   * @returns the document; null where the device has none
   * @throws HoldfastError shadow_away (retry) where the device is not connected, the shadow service cannot be reached, or no
   *   answer comes within 10 s
   */
  async getShadow(): Promise<JsonObject | null> {
    if (!this.#link.open) throw shadowAway(`device ${this.id} is not connected`);
    return this.#requests.question.ask();
  }

  /**
   * Resolves once every record is acked or refused.
   * @throws HoldfastError device_closed where the device is closed, disconnected, or taken over, before that
   */
  async flushed(): Promise<void> {
    if (this.#buffer.unacked === 0) return;
    this.#assertNotClosed();
    await this.#flushing.wait();
  }

  /** Ends the connection; what is not acked stays in a file buffer for the next process, and is gone from memory. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#giveUp(`device ${this.id} was closed with ${this.#buffer.unacked} records unacked`);
    await this.#link.disconnect();
    this.#buffer.close();
    this.#requests.close();
  }

  get #isBinary(): boolean {
    return this.#settings.protocol === 'binary';
  }

  #receive(message: DownMessage): void {
    switch (message.type) {
      case 'hello':
        this.#opened(message.windowBytes);
        break;
      case 'ack':
        this.#acked(Math.min(message.seq, this.#outbox.sent));
        break;
      case 'error':
        if (message.get === undefined) this.#refused(message.seq, message.code, message.message);
        break;
      case 'delta':
        this.emit('delta', message.delta, message.version);
        break;
      case 'command':
        this.emit('command', message.command);
        break;
      case 'shadow':
        break;
    }
    this.#requests.receive(message);
    this.#pump.run();
  }

  #opened(windowBytes: number): void {
    this.#link.opened();
    if (!this.#link.open) return;
    this.#outbox.begin(windowBytes);
    this.emit('open');
  }

  #acked(seq: number): void {
    this.#link.progress();
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
      if (given === undefined && this.#outbox.underWay > 0) this.#pump.sendSingly();
      return;
    }
    this.#link.progress();
    this.#outbox.settle(seq);
    this.emit('refused', seq, code, message);
    this.#requests.commands.refused(seq, code, message);
    this.#settled();
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
    this.#requests.commands.settled();
    if (this.#buffer.unacked === 0) this.#flushing.resolve();
  }

  #sessionEnded(end: SessionEnd, retryInMs: number | undefined): void {
    this.#requests.question.fail('the connection ended');
    this.emit('close', end.code, end.reason, retryInMs);
    if (this.#closed) return;
    if (end.code === TAKEN_OVER) {
      const message = `another session of device ${this.id} took over; connect() takes it back`;
      this.#giveUp(message);
      this.#fail('device_closed', message);
    } else if (end.isRefused) {
      this.#fail('device_refused', `device ${this.id} is refused: ${end.reason}; check its id and token`);
    }
  }

  #giveUp(message: string): void {
    this.#flushing.reject(new HoldfastError('device_closed', message, false));
  }

  #fail(code: 'device_refused' | 'device_closed' | 'disk_low', message: string, cause?: unknown): void {
    this.emit('error', new HoldfastError(code, message, true, cause));
  }

  #assertNotClosed(): void {
    if (!this.#closed) return;
    throw new HoldfastError('device_closed', `device ${this.id} is closed`, false);
  }
}
