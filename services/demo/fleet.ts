/**
 * The demo fleet: every engine a device of its own that replays its rows, one each interval, over and over with new times
 * (engine-device.ts). The starts are spread over the interval. Odd engines speak JSON, even ones binary.
 *
 * What an edge that is away has not acked waits in memory; an engine whose hour of memory is full skips readings.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Device } from '../../shared/device.js';
import type { Part } from '../../shared/lifecycle.js';
import type { Logger } from '../../shared/log.js';
import { deviceToken } from '../../shared/token.js';
import { EngineDevice } from './engine-device.js';
import type { Engine } from './engines.js';

export interface FleetOptions {
  readonly edge: string;
  readonly intervalMs: number;
  readonly deviceSecret: string | undefined;
}

const MAX_BACKOFF_MS = 5_000;
const MAX_UNACKED = 3_600;
const FLUSH_DEADLINE_MS = 2_000;

export class Fleet implements Part {
  readonly name = 'fleet';
  readonly #engines: EngineDevice[];
  readonly #told = new Set<string>();

  constructor(
    engines: readonly Engine[],
    private readonly options: FleetOptions,
    private readonly log: Logger,
  ) {
    this.#engines = engines.map((engine, index) => {
      const protocol = index % 2 === 0 ? 'json' : 'binary';
      return new EngineDevice(engine, this.#createDevice(engine.id, protocol), options.intervalMs);
    });
  }

  /** Records that are durable at the edge. */
  get acked(): number {
    return this.#engines.reduce((sum, { device }) => sum + device.acked, 0);
  }

  get unacked(): number {
    return this.#engines.reduce((sum, { device }) => sum + device.unacked, 0);
  }

  start(): Promise<void> {
    this.#engines.forEach((engine, index) => {
      engine.start((index / this.#engines.length) * this.options.intervalMs);
    });
    return Promise.resolve();
  }

  /** Stops sending, gives what is under way two seconds to be acked, and disconnects. */
  async stop(): Promise<void> {
    for (const engine of this.#engines) engine.stop();
    const abort = new AbortController();
    const flushed = Promise.allSettled(this.#engines.map(({ device }) => device.flushed()));
    await Promise.race([flushed, sleep(FLUSH_DEADLINE_MS, undefined, { signal: abort.signal })]);
    abort.abort();
    if (this.unacked > 0) this.log.warn(`${this.unacked} records were not acked before the fleet stopped`);
    await Promise.all(this.#engines.map(({ device }) => device.close()));
  }

  #createDevice(id: string, protocol: 'json' | 'binary'): Device {
    const { edge, deviceSecret } = this.options;
    const device = new Device({
      url: edge,
      id,
      token: deviceSecret === undefined ? undefined : deviceToken(deviceSecret, id),
      protocol,
      buffer: { maxRecords: MAX_UNACKED },
      maxBackoffMs: MAX_BACKOFF_MS,
    });
    device.on('error', (error) => this.#tell(error.code, error.message));
    device.on('refused', (seq, code, message) => this.#tell(code, `record ${seq} of ${id} was refused: ${message}`));
    device.on('complaint', (code, message) => this.#tell(code, `the edge complains about ${id}: ${message}`));
    return device;
  }

  /** What goes wrong for one engine goes wrong for ninety, every second: it is told once. */
  #tell(code: string, message: string): void {
    if (this.#told.has(code)) return;
    this.#told.add(code);
    this.log.warn({ code }, message);
  }
}
