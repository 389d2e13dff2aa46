/** What a fleet says of itself: one line while it runs, a table at its end, the same as JSON. */
import type { Counters } from './counters.js';
import type { Fleet } from './fleet.js';
import { Histogram } from './histogram.js';
import type { Verification } from './verify.js';

/** The rates of a status line are of the time since the one before. */
export class StatusLine {
  #before: { readonly counters: Counters; readonly ms: number };
  readonly #latencies = new Histogram();

  constructor(private readonly fleet: Fleet) {
    this.#before = { counters: fleet.counters, ms: performance.now() };
    fleet.on('sample', (latencies) => this.#latencies.merge(latencies));
  }

  next(): string {
    const { counters, options, isOnline } = this.fleet;
    const ms = performance.now();
    const seconds = Math.max(0.001, (ms - this.#before.ms) / 1000);
    const rate = (name: 'sent' | 'acked'): number =>
      Math.round((counters[name] - this.#before.counters[name]) / seconds);
    const line = describeStatus({
      elapsedSeconds: Math.max(0, (Date.now() - this.fleet.startMs) / 1000),
      devices: options.devices,
      counters,
      sentPerSecond: rate('sent'),
      ackedPerSecond: rate('acked'),
      latencies: this.#latencies,
      isOnline,
    });
    this.#before = { counters, ms };
    this.#latencies.take();
    return line;
  }
}

export interface StatusNow {
  readonly elapsedSeconds: number;
  readonly devices: number;
  readonly counters: Counters;
  readonly sentPerSecond: number;
  readonly ackedPerSecond: number;
  readonly latencies: Histogram;
  readonly isOnline: boolean;
}

export function describeStatus(now: StatusNow): string {
  const { counters, latencies, isOnline } = now;
  const ack = `ack p50 ${inMs(latencies.percentile(0.5))} p99 ${inMs(latencies.percentile(0.99))}`;
  return [
    `${now.elapsedSeconds.toFixed(0)} s`,
    `up ${counters.up}/${now.devices}${isOnline ? '' : ' (offline)'}`,
    `sent ${now.sentPerSecond}/s`,
    `acked ${now.ackedPerSecond}/s`,
    `buffered ${counters.buffered}`,
    ack,
    `reconnects ${counters.reconnects}`,
  ].join('  ');
}

/** What a run came to. */
export interface FleetResult {
  readonly run: string;
  readonly edge: string;
  readonly devices: number;
  readonly processes: number;
  readonly seconds: number;
  readonly counters: Counters;
  readonly ackP50Ms: number | undefined;
  readonly ackP99Ms: number | undefined;
  readonly ackMaxMs: number | undefined;
  readonly verification: Verification | undefined;
}

export function resultOf(fleet: Fleet, counters: Counters, verification: Verification | undefined): FleetResult {
  return {
    run: fleet.run,
    edge: fleet.options.edge,
    devices: fleet.options.devices,
    processes: fleet.processes,
    seconds: Math.round((Date.now() - fleet.startMs) / 100) / 10,
    counters,
    ackP50Ms: rounded(fleet.latencies.percentile(0.5)),
    ackP99Ms: rounded(fleet.latencies.percentile(0.99)),
    ackMaxMs: rounded(fleet.latencies.percentile(1)),
    verification,
  };
}

/** @returns a table, a line a number, ending in a newline */
export function describeResult(result: FleetResult): string {
  const { counters, verification } = result;
  const rows: [string, string][] = [
    ['run', `${result.run}: ${result.devices} devices, ids fleet-${result.run}-0 …, ${result.seconds} s`],
    ['made', String(counters.made)],
    ['sent', `${counters.sent} (${counters.resent} of them again)`],
    ['acked', String(counters.acked)],
    ['not acked', `${counters.buffered} kept, ${counters.dropped} given up, ${counters.refused} refused`],
    ['ack', `p50 ${inMs(result.ackP50Ms)}, p99 ${inMs(result.ackP99Ms)}, longest ${inMs(result.ackMaxMs)}`],
    ['reconnects', `${counters.reconnects} (sent away ${counters.sentAway} times, broken ${counters.broken})`],
    ...(verification === undefined ? [] : verificationRows(verification)),
  ];
  return rows.map(([name, value]) => `${name.padEnd(12)}${value}\n`).join('');
}

function verificationRows(verification: Verification): [string, string][] {
  const { acked, rows, lost, twice, examples, waitedMs } = verification;
  const waited = `after ${(waitedMs / 1000).toFixed(1)} s`;
  return [
    [
      'verified',
      `${lost + twice === 0 ? 'good' : 'BAD'}: of ${acked} acked, ${lost} lost, ${twice} twice (${rows} rows, ${waited})`,
    ],
    ...examples.map((example): [string, string] => ['', example]),
  ];
}

function inMs(ms: number | undefined): string {
  if (ms === undefined) return '–';
  return ms < 10 ? `${ms.toFixed(1)} ms` : `${ms.toFixed(0)} ms`;
}

function rounded(ms: number | undefined): number | undefined {
  return ms === undefined ? undefined : Math.round(ms * 100) / 100;
}
