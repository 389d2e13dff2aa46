/** Commands, their outbox, results and expiry over things in memory, with a clock that the test moves. */
import { pino, type Logger } from 'pino';
import { Registry } from '../../shared/metrics.js';
import { CommandExpiry } from '../../services/shadow/command-expiry.js';
import { CommandOutbox } from '../../services/shadow/command-outbox.js';
import { Commands } from '../../services/shadow/commands.js';
import { DownlinkMetrics } from '../../services/shadow/downlink-metrics.js';
import { readResult, Results, type ResultRefusal } from '../../services/shadow/results.js';
import { MemoryStore, MemoryThings } from './shadow-memory.js';

export const RETENTION_MS = 100_000;
export const MAX_PENDING = 5;
export const LOG: Logger = pino({ level: 'silent' });

export class TestCommands {
  nowMs = 1_000_000;
  readonly registry = new Registry();
  readonly metrics = new DownlinkMetrics(this.registry, { devices: () => 0, waiting: () => 0 });
  readonly things: MemoryThings;
  readonly outbox: CommandOutbox;
  readonly commands: Commands;
  readonly expiry: CommandExpiry;
  readonly results: Results;

  constructor(
    readonly store = new MemoryStore(),
    maxPending = MAX_PENDING,
  ) {
    const clock = (): number => this.nowMs;
    const { metrics } = this;
    const things = (this.things = new MemoryThings(store));
    const outbox = (this.outbox = new CommandOutbox(things, RETENTION_MS, metrics, LOG));
    const shared = { things, store, outbox, metrics, retentionMs: RETENTION_MS, clock };
    this.commands = new Commands({ ...shared, maxPending });
    const onFailure = (error: unknown): void => {
      throw error;
    };
    this.expiry = new CommandExpiry({ ...shared, log: LOG, onFailure });
    this.results = new Results(RETENTION_MS, metrics);
  }

  /** What the engine does with a record of kind `result`. @returns why it changed nothing, or undefined */
  result(thing: string, payload: unknown, timeMs = this.nowMs): ResultRefusal | 'bad_result' | undefined {
    const result = readResult(payload);
    if (result === undefined) return 'bad_result';
    return this.things.step([thing], [result.id], ([found], [value], put) =>
      this.results.applyResult(found!, value, result, timeMs, put),
    ).result;
  }

  /** How often commands came into a state. */
  async counted(state: string): Promise<number> {
    const metric = await this.registry.getSingleMetric('holdfast_commands_total')!.get();
    return metric.values.find(({ labels }) => labels['state'] === state)?.value ?? 0;
  }
}
