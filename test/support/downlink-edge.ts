/**
 * An edge as shadow's downlink sees it: a real XSUB socket that subscribes to devices and reads what is sent to them. As a
 * script it is an edge in a process of its own, to be killed: `downlink-edge.js <endpoint> <prefix of devices> <devices> <asks>`.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { setImmediate as turn } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { XSubscriber } from 'zeromq';
import { decodeDownlink, downlinkTopic, encodeQuestion, type DownlinkMessage } from '../../shared/downlink-frames.js';
import { SOCKET_OPTIONS } from '../../shared/links.js';

export class DownlinkEdge {
  readonly received: DownlinkMessage[] = [];
  /** Messages that were no message to a device. */
  malformed = 0;
  readonly #socket: XSubscriber;
  #isReading = true;
  readonly #reading: Promise<void>;
  #sending = Promise.resolve();

  constructor(endpoint: string, receiveHighWaterMark = 4_096) {
    this.#socket = new XSubscriber({ ...SOCKET_OPTIONS, sendHighWaterMark: 0, receiveHighWaterMark });
    this.#socket.connect(endpoint);
    this.#reading = this.#read();
  }

  subscribe(deviceId: string): void {
    this.raw(Buffer.from(`\x01${downlinkTopic(deviceId)}`, 'latin1'));
  }

  cancel(deviceId: string): void {
    this.raw(Buffer.from(`\0${downlinkTopic(deviceId)}`, 'latin1'));
  }

  ask(deviceId: string): void {
    this.raw(encodeQuestion(deviceId));
  }

  raw(frame: Buffer | Buffer[]): void {
    this.#sending = this.#sending.then(() => this.#socket.send(frame));
  }

  /** Resolves once all that was said is with ZeroMQ. */
  said(): Promise<void> {
    return this.#sending;
  }

  /** Reads no more, after the next message: its socket and the link fill up. */
  stopReading(): void {
    this.#isReading = false;
  }

  async close(): Promise<void> {
    await this.#sending;
    this.#socket.close();
    await this.#reading;
  }

  async #read(): Promise<void> {
    try {
      await this.#readAll();
    } catch (error) {
      // A read that zeromq.js had put off fails when the socket is closed under it.
      if (!this.#socket.closed) throw error;
    }
  }

  async #readAll(): Promise<void> {
    for await (const [frame, ...more] of this.#socket) {
      const message = frame === undefined || more.length > 0 ? undefined : decodeDownlink(frame);
      if (message === undefined) this.malformed++;
      else this.received.push(message);
      if (!this.#isReading) return;
    }
  }
}

/** An edge in its own process, with devices `<prefix>-0` and on. */
export class EdgeProcess {
  readonly #child: ChildProcess;

  /** @param asks whether its devices ask for their shadows all the time */
  constructor(endpoint: string, prefix: string, devices: number, asks = false) {
    const words = [endpoint, prefix, String(devices), asks ? 'asks' : ''];
    this.#child = fork(fileURLToPath(import.meta.url), words, { stdio: 'ignore' });
  }

  /** How many messages it has received; it says so when it is asked. */
  async received(): Promise<number> {
    const answer = once(this.#child, 'message') as Promise<[number]>;
    this.#child.send('received');
    return (await answer)[0];
  }

  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  async kill(): Promise<void> {
    if (!this.running) return;
    const exit = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await exit;
  }
}

async function main([endpoint, prefix, devices, asks]: readonly string[]): Promise<void> {
  const edge = new DownlinkEdge(endpoint!);
  process.on('message', () => process.send!(edge.received.length));
  process.on('disconnect', () => process.exit());
  for (let device = 0; device < Number(devices); device++) edge.subscribe(`${prefix!}-${device}`);
  await edge.said();
  for (let asked = 0; asks === 'asks'; asked++) {
    edge.ask(`${prefix!}-${asked % Number(devices)}`);
    await edge.said();
    if (asked % 100 === 0) await turn();
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main(process.argv.slice(2));
