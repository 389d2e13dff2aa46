/**
 * `holdfast status`: the pipeline at a glance, from what each service says at its admin endpoint. Rates come from two samples.
 *
 *   in, out    records a second that the hop took and passed on: live's out are messages to clients, shadow's writes of things
 *   backlog    records and bytes in the hop's queue that the next hop has not acked, and the age of the oldest
 *   lag        batches between a consumer and the router's head, shown at the consumer; only the router knows it
 */
import { scrape, type Sample } from './scrape.js';

export interface Target {
  readonly service: string;
  /** host:port of the admin endpoint. */
  readonly address: string;
}

export type State = 'ready' | 'waiting' | 'away';

export interface Hop {
  readonly service: string;
  readonly address: string;
  readonly state: State;
  /** What it waits for, or why it does not answer. */
  readonly reason: string;
  readonly inPerSecond: number | undefined;
  readonly outPerSecond: number | undefined;
  readonly backlogRecords: number | undefined;
  readonly backlogBytes: number | undefined;
  readonly quotaBytes: number | undefined;
  readonly oldestSeconds: number | undefined;
  readonly lagBatches: number | undefined;
}

export interface Status {
  readonly ready: boolean;
  readonly hops: readonly Hop[];
  /** Of every consumer that the router keeps batches for, also those that are not asked here. */
  readonly lagBatches: Readonly<Record<string, number>>;
}

/** Counters of what leaves a hop, where they are not holdfast_records_out_total. */
const OUT_COUNTERS: Readonly<Record<string, string>> = {
  live: 'holdfast_deliveries_total',
  shadow: 'holdfast_things_written_total',
};

/** The samples of all targets at one moment. */
export async function sampleAll(targets: readonly Target[]): Promise<readonly Sample[]> {
  return Promise.all(targets.map(({ address }) => scrape(address)));
}

/** The pipeline between two samples of the same targets. */
export function statusOf(targets: readonly Target[], before: readonly Sample[], now: readonly Sample[]): Status {
  const lags = new Map(now.flatMap(({ metrics }) => [...metrics.by('holdfast_consumer_lag_batches', 'consumer')]));
  const hops = targets.map((target, index) => hopOf(target, before[index]!, now[index]!, lags));
  return { ready: hops.every(({ state }) => state === 'ready'), hops, lagBatches: Object.fromEntries(lags) };
}

function hopOf(target: Target, before: Sample, now: Sample, lags: ReadonlyMap<string, number>): Hop {
  const { metrics, waiting } = now;
  const out = OUT_COUNTERS[target.service] ?? 'holdfast_records_out_total';
  return {
    ...target,
    state: waiting === undefined ? 'away' : waiting.length === 0 ? 'ready' : 'waiting',
    reason: waiting === undefined ? now.trouble : waiting.join(', '),
    inPerSecond: rateOf('holdfast_records_in_total', before, now),
    outPerSecond: rateOf(out, before, now),
    backlogRecords: metrics.sum('holdfast_queue_records'),
    backlogBytes: metrics.sum('holdfast_queue_bytes'),
    quotaBytes: metrics.sum('holdfast_queue_quota_bytes'),
    oldestSeconds: metrics.sum('holdfast_queue_oldest_seconds'),
    lagBatches: lags.get(target.service),
  };
}

/** @returns undefined where there are not two values, or the service was started anew between them */
function rateOf(name: string, before: Sample, now: Sample): number | undefined {
  const first = before.metrics.sum(name);
  const last = now.metrics.sum(name);
  if (first === undefined || last === undefined || last < first) return undefined;
  return (1_000 * (last - first)) / Math.max(1, now.timeMs - before.timeMs);
}

const COLUMNS = ['service', 'state', 'in/s', 'out/s', 'backlog', 'bytes', 'oldest', 'lag', ''] as const;

/** A status as a table for people. */
export function describeStatus({ hops }: Status): string {
  const rows = hops.map((hop) => [
    hop.service,
    hop.state,
    show(hop.inPerSecond, (value) => Math.round(value).toString()),
    show(hop.outPerSecond, (value) => Math.round(value).toString()),
    show(hop.backlogRecords, String),
    show(hop.backlogBytes, (value) => `${showBytes(value)}${shareOf(value, hop.quotaBytes)}`),
    show(hop.oldestSeconds, (value) => `${value.toFixed(1)} s`),
    show(hop.lagBatches, String),
    noteOf(hop),
  ]);
  const widths = COLUMNS.map((name, column) => Math.max(name.length, ...rows.map((row) => row[column]!.length)));
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, column) =>
        column < 2 || column === 8 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!),
      )
      .join('  ')
      .trimEnd();
  return `${[COLUMNS, ...rows].map(line).join('\n')}\n`;
}

function noteOf({ state, reason, address }: Hop): string {
  if (state === 'away') return `no answer at ${address}: ${reason}`;
  return state === 'waiting' ? `waits for ${reason}` : '';
}

function show(value: number | undefined, format: (value: number) => string): string {
  return value === undefined ? '–' : format(value);
}

function shareOf(bytes: number, quotaBytes: number | undefined): string {
  return quotaBytes === undefined ? '' : ` (${Math.round((100 * bytes) / quotaBytes)} %)`;
}

function showBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  const power = Math.min(units.length - 1, Math.floor(Math.log2(Math.max(1, bytes)) / 10));
  return `${(bytes / 2 ** (10 * power)).toFixed(power === 0 ? 0 : 1)} ${units[power]!}`;
}
