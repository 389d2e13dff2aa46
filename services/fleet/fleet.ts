/**
 * A fleet: its worker processes, and what they count together. A process has at most 20,000 connections, fewer where the
 * limit of open files says so; how many processes that makes is the one thing that grows with the fleet here.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { HoldfastError } from '../../shared/errors.js';
import { packagePath } from '../../shared/paths.js';
import type { FleetProtocol } from './connection.js';
import { noCounters, sumCounters, type Counters } from './counters.js';
import { resolveEdge } from './edge-address.js';
import { Histogram, type Counts } from './histogram.js';
import { joinLedgers, type Ledger } from './ledger.js';
import type { FromWorker, ToWorker, WorkerSetup } from './messages.js';
import { sourceAddresses } from './sources.js';

export interface FleetOptions {
  /** A URL with a scheme of the protocol. */
  readonly edge: string;
  readonly devices: number;
  readonly intervalMs: number;
  readonly payloadBytes: number;
  readonly protocol: FleetProtocol;
  readonly rampMs: number;
  /** Records that a device keeps. */
  readonly bufferRecords: number;
  /** Undefined: as few as will do. */
  readonly processes: number | undefined;
  readonly deviceSecret: string | undefined;
}

const MAX_CONNECTIONS_A_PROCESS = 20_000;
/** Open files of a process that are no connections. */
const OTHER_FILES = 100;
/** Until the workers have made their devices. */
const START_DELAY_MS = 200;
const FINISH_TIMEOUT_MS = 30_000;

interface FleetEvents {
  /** Some worker has told its counts; often. With them the latencies of its acks since it did so last. */
  sample: [latencies: Counts];
  /** The fleet cannot go on. */
  failed: [error: HoldfastError];
}

interface WorkerProcess {
  readonly child: ChildProcess;
  counters: Counters;
  ledger: Ledger | undefined;
  /** It makes no more records. */
  isQuiet: boolean;
}

export class Fleet extends EventEmitter<FleetEvents> {
  /** Device ids are `fleet-<run>-<number>`. */
  readonly run = randomBytes(4).toString('hex');
  /** Latencies of all acks. */
  readonly latencies = new Histogram();
  /** When the first device connects, ms since 1970. */
  startMs = 0;
  readonly #workers: WorkerProcess[] = [];
  #isOnline = true;
  #finishing = false;

  constructor(readonly options: FleetOptions) {
    super();
  }

  /** What the workers counted so far. */
  get counters(): Counters {
    return sumCounters(this.#workers.map(({ counters }) => counters));
  }

  get processes(): number {
    return this.#workers.length;
  }

  get isOnline(): boolean {
    return this.#isOnline;
  }

  /** @throws HoldfastError bad_config, start_failed */
  async start(): Promise<void> {
    const { devices, processes, edge, protocol } = this.options;
    const address = await resolveEdge(edge, protocol);
    const least = Math.ceil(devices / connectionsAProcess());
    if (processes !== undefined && processes < least) {
      const message = `--processes ${processes}: ${devices} devices need at least ${least}`;
      throw new HoldfastError('bad_config', message, false);
    }
    const count = processes ?? least;
    this.startMs = Date.now() + START_DELAY_MS;
    // Devices that send datagrams share a few sockets.
    const sources = protocol === 'udp' ? [] : sourceAddresses(address.host, devices);
    for (let index = 0; index < count; index++) {
      const firstDevice = Math.floor((devices * index) / count);
      const nextDevice = Math.floor((devices * (index + 1)) / count);
      this.#startWorker({
        ...this.options,
        edge: address,
        run: this.run,
        firstDevice,
        devices: nextDevice - firstDevice,
        fleetDevices: devices,
        startMs: this.startMs,
        sources,
      });
    }
  }

  /** The network goes: every connection is cut. */
  offline(): void {
    this.#isOnline = false;
    this.#tell({ type: 'offline' });
  }

  /** The network is back. */
  online(): void {
    this.#isOnline = true;
    this.#tell({ type: 'online' });
  }

  /** No more records are made; those that there are still travel. */
  quiet(): void {
    this.#tell({ type: 'quiet' });
  }

  /** Resolves once a quiet fleet has nothing left that is not acked, or at the deadline. */
  async drained(timeoutMs: number, signal: AbortSignal): Promise<void> {
    // Counts from before a worker was quiet may show nothing left, and more may have been made since.
    const isDrained = ({ buffered }: Counters): boolean =>
      buffered === 0 && this.#workers.every(({ isQuiet }) => isQuiet);
    await this.until(isDrained, timeoutMs, signal);
  }

  /**
   * Resolves once `isTrue` says so of the counters, or at the deadline.
   * @returns whether it did
   */
  async until(isTrue: (counters: Counters) => boolean, timeoutMs: number, signal?: AbortSignal): Promise<boolean> {
    const timeout = AbortSignal.timeout(timeoutMs);
    const ended = signal === undefined ? timeout : AbortSignal.any([timeout, signal]);
    while (!isTrue(this.counters)) {
      if (ended.aborted) return false;
      await once(this, 'sample', { signal: ended }).catch(() => undefined);
    }
    return true;
  }

  /** Switches all devices off, and ends the workers. @returns what was acked */
  async finish(): Promise<Ledger> {
    this.#finishing = true;
    this.#tell({ type: 'finish' });
    const timer = setTimeout(() => this.kill(), FINISH_TIMEOUT_MS);
    await Promise.all(this.#workers.filter(({ child }) => !isOver(child)).map(({ child }) => once(child, 'exit')));
    clearTimeout(timer);
    const ledgers = this.#workers.map(({ ledger }) => ledger).filter((ledger) => ledger !== undefined);
    if (ledgers.length < this.#workers.length) {
      throw new HoldfastError('stop_timeout', 'a worker of the fleet ended without telling what was acked', false);
    }
    return joinLedgers(ledgers);
  }

  /** Ends the workers as they are. */
  kill(): void {
    this.#finishing = true;
    for (const { child } of this.#workers) child.kill('SIGKILL');
  }

  #startWorker(setup: WorkerSetup): void {
    const child = fork(packagePath('dist', 'services', 'fleet', 'worker.js'), [], {
      serialization: 'advanced',
      execArgv: ['--title=holdfast-fleet-worker'],
    });
    const worker: WorkerProcess = { child, counters: noCounters(), ledger: undefined, isQuiet: false };
    this.#workers.push(worker);
    child.on('message', (message) => this.#receive(worker, message as FromWorker));
    child.on('exit', (code, signal) => {
      if (this.#finishing) return;
      this.#fail(`a worker of the fleet ended: ${signal ?? `exit code ${code ?? '?'}`}`);
    });
    child.send({ type: 'setup', setup } satisfies ToWorker);
  }

  #receive(worker: WorkerProcess, message: FromWorker): void {
    if (message.type === 'failed') {
      this.#fail(message.message);
      return;
    }
    worker.counters = message.counters;
    this.latencies.merge(message.latencies);
    if (message.type === 'sample') worker.isQuiet = message.isQuiet;
    if (message.type === 'finished') {
      worker.ledger = message.ledger;
      worker.child.disconnect();
    }
    this.emit('sample', message.latencies);
  }

  #fail(message: string): void {
    if (!this.#finishing) this.emit('failed', new HoldfastError('unhealthy', message, false));
  }

  #tell(message: ToWorker): void {
    for (const { child } of this.#workers) if (child.connected) child.send(message);
  }
}

function isOver(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

/** Node raises its soft limit to the hard one when it starts, so this is what the workers have too. */
function connectionsAProcess(): number {
  const { userLimits } = process.report.getReport() as { userLimits?: { open_files?: { soft?: number | string } } };
  const files = Number(userLimits?.open_files?.soft);
  return Number.isFinite(files) ? Math.min(MAX_CONNECTIONS_A_PROCESS, files - OTHER_FILES) : MAX_CONNECTIONS_A_PROCESS;
}
