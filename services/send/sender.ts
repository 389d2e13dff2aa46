/**
 * Lines in, acked records out: reads no further than the device's buffer has room, so memory is bounded however long the
 * input and however slow the edge.
 */
import type { Readable, Writable } from 'node:stream';
import { Device, type DeviceProtocol } from '../../shared/device.js';
import { HoldfastError, messageOf } from '../../shared/errors.js';
import { Signal } from '../../shared/signal.js';
import { readLines, type Line } from './lines.js';
import { Progress, type Counts } from './progress.js';
import { readRecord, type LineRecord } from './record.js';

export interface SenderOptions {
  readonly device: string;
  readonly edge: string;
  readonly token: string | undefined;
  readonly protocol: DeviceProtocol;
  /** How long may pass without an ack while one is waited for; undefined: any time. */
  readonly timeoutMs: number | undefined;
  /** Read to its end; destroyed where there is no use in going on. */
  readonly input: Readable;
  /** Where problems and progress go. */
  readonly output: Writable;
  readonly isTerminal: boolean;
}

const MAX_LINE_BYTES = 1024 * 1024;
const MAX_UNACKED = 20_000;
const MAX_UNACKED_BYTES = 16 * 1024 * 1024;
const MAX_BACKOFF_MS = 5_000;
const CHECK_MS = 250;

/**
 * Sends every line of the input as one record and waits for the acks.
 * @returns what became of the lines
 * @throws HoldfastError device_refused, device_closed; link_closed where the timeout passed
 */
export async function sendLines(options: SenderOptions): Promise<Counts> {
  return new Sender(options).run();
}

class Sender {
  readonly #options: SenderOptions;
  readonly #device: Device;
  readonly #progress: Progress;
  /** Fires when the edge has said something. */
  readonly #heard = new Signal();
  /** The lines of unacked records, by seq. */
  readonly #lines = new Map<number, number>();
  #heardMs = performance.now();
  #acked = 0;
  #failure: HoldfastError | undefined;

  constructor(options: SenderOptions) {
    this.#options = options;
    const { device: id, edge: url, token, protocol, output, isTerminal } = options;
    const buffer = { maxRecords: MAX_UNACKED, maxBytes: MAX_UNACKED_BYTES };
    this.#device = new Device({ url, id, token, protocol, buffer, maxBackoffMs: MAX_BACKOFF_MS });
    this.#progress = new Progress(output, isTerminal);
    this.#listen();
  }

  async run(): Promise<Counts> {
    this.#device.connect();
    const check = setInterval(() => this.#checkTimeout(), CHECK_MS);
    try {
      for await (const line of readLines(this.#options.input, MAX_LINE_BYTES)) await this.#take(line);
      while (this.#device.unacked > 0) await this.#wait();
      return this.#progress.counts;
    } finally {
      clearInterval(check);
      this.#progress.finish();
      await this.#device.close();
    }
  }

  #listen(): void {
    const device = this.#device;
    const progress = this.#progress;
    device.on('open', () => (progress.state = ''));
    device.on('close', (_, reason, retryInMs) => {
      if (retryInMs === undefined) return;
      progress.state = `no connection: ${reason || 'closed'}; next attempt in ${(retryInMs / 1000).toFixed(1)} s`;
    });
    device.on('ack', (seq) => {
      for (let done = this.#acked + 1; done <= seq; done++) if (this.#lines.delete(done)) progress.counts.acked++;
      this.#acked = seq;
      this.#hear();
    });
    device.on('refused', (seq, code, message) => {
      const line = this.#lines.get(seq) ?? 0;
      this.#lines.delete(seq);
      progress.counts.refused++;
      progress.tell(`line ${line}: refused by the edge, ${code}: ${message}`);
      this.#hear();
    });
    device.on('complaint', (code, message) => progress.tell(`the edge says ${code}: ${message}`));
    device.on('error', (error) => this.#fail(error));
  }

  #hear(): void {
    this.#heardMs = performance.now();
    this.#heard.fire();
  }

  async #take({ number, bytes }: Line): Promise<void> {
    const record = bytes === undefined ? { problem: `over ${MAX_LINE_BYTES} bytes` } : readRecord(bytes);
    if (record === undefined) return;
    this.#progress.counts.read++;
    if ('problem' in record) {
      this.#reject(number, record.problem);
      return;
    }
    while (!this.#send(number, record)) await this.#wait();
  }

  /** @returns false while the buffer has no room for it */
  #send(number: number, { kind, data, time }: LineRecord): boolean {
    try {
      // Nothing was waited for before: the time without an ack begins now.
      if (this.#device.unacked === 0) this.#heardMs = performance.now();
      this.#lines.set(this.#device.send(data, { kind, time }), number);
      this.#progress.counts.sent++;
    } catch (error) {
      if (error instanceof HoldfastError && error.code === 'buffer_full') return false;
      this.#reject(number, messageOf(error));
    }
    return true;
  }

  #reject(number: number, problem: string): void {
    this.#progress.counts.bad++;
    this.#progress.tell(`line ${number}: ${problem}`);
  }

  /** Waits until the edge says something. */
  async #wait(): Promise<void> {
    if (this.#failure === undefined) await this.#heard.wait(CHECK_MS);
    if (this.#failure !== undefined) throw this.#failure;
  }

  #checkTimeout(): void {
    const { timeoutMs, edge } = this.#options;
    if (timeoutMs === undefined || this.#device.unacked === 0) return;
    if (performance.now() - this.#heardMs < timeoutMs) return;
    const message = `no ack from ${edge} for ${timeoutMs} ms; ${this.#device.unacked} records are not acked`;
    this.#fail(new HoldfastError('link_closed', message, true));
  }

  /** Ends the work, wherever it waits. */
  #fail(error: HoldfastError): void {
    this.#failure = error;
    this.#heard.fire();
    this.#options.input.destroy(error);
  }
}
