/**
 * A burst: a fleet under normal load loses its network, keeps what it makes, and comes back all at once.
 *
 *   ramp │ normal │ outage │ flush (everything that was kept is acked) │ recovery │ verification
 *
 * The outage is one of the network, as devices see it: every connection is cut, and none is tried. The edge stays up.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { HoldfastError } from '../../shared/errors.js';
import type { PipelineAddresses } from './burst-pipeline.js';
import { BurstSampler } from './burst-sampler.js';
import type { Counters } from './counters.js';
import { Fleet, type FleetOptions } from './fleet.js';
import { CLOCK_SLACK_MS } from './run.js';
import { StatusLine } from './status.js';
import { verify, type Verification } from './verify.js';

export interface BurstOptions {
  readonly fleet: FleetOptions;
  readonly addresses: PipelineAddresses;
  /** Normal load before the outage, after the ramp. */
  readonly normalMs: number;
  readonly outageMs: number;
  /** Normal load after the flush. */
  readonly recoveryMs: number;
  /** How long the flush may take before it is given up. */
  readonly flushTimeoutMs: number;
  readonly verifyWaitMs: number;
  readonly say: (line: string) => void;
}

/** Moments, in seconds since the fleet's start. */
export interface BurstMarks {
  readonly offline: number;
  readonly online: number;
  /** Undefined: the flush was given up. */
  readonly flushed: number | undefined;
  readonly end: number;
}

export interface BurstRun {
  readonly run: string;
  readonly options: FleetOptions;
  readonly processes: number;
  readonly marks: BurstMarks;
  /** Records that devices held when the network came back. */
  readonly backlog: number;
  readonly counters: Counters;
  readonly sampler: BurstSampler;
  readonly verification: Verification;
}

/** How long what is unacked at the end may take. */
const DRAIN_MS = 60_000;

/** @throws HoldfastError where the fleet cannot go on, or `signal` is aborted */
export async function runBurst(options: BurstOptions, signal: AbortSignal): Promise<BurstRun> {
  const fleet = new Fleet(options.fleet);
  const failed = new AbortController();
  fleet.on('failed', (error) => failed.abort(error));
  const stop = AbortSignal.any([signal, failed.signal]);
  await fleet.start();
  const sampler = new BurstSampler(fleet, options.addresses);
  const status = new StatusLine(fleet);
  const timer = setInterval(() => options.say(status.next()), 5_000);
  try {
    const { marks, backlog } = await phases(fleet, options, stop);
    fleet.quiet();
    await fleet.drained(DRAIN_MS, stop);
    const ledger = await fleet.finish();
    clearInterval(timer);
    options.say(`verifying ${fleet.counters.acked} acked records`);
    const verification = await verify(ledger, {
      url: options.addresses.databaseUrl,
      run: fleet.run,
      fromMs: fleet.startMs - CLOCK_SLACK_MS,
      throughMs: Date.now() + CLOCK_SLACK_MS,
      waitMs: options.verifyWaitMs,
    });
    const { run, processes, counters } = fleet;
    return { run, options: options.fleet, processes, marks, backlog, counters, sampler, verification };
  } catch (error) {
    throw stop.aborted ? reasonOf(stop) : error;
  } finally {
    clearInterval(timer);
    await sampler.stop();
    fleet.kill();
  }
}

async function phases(
  fleet: Fleet,
  { fleet: { rampMs }, normalMs, outageMs, recoveryMs, flushTimeoutMs, say }: BurstOptions,
  signal: AbortSignal,
): Promise<{ marks: BurstMarks; backlog: number }> {
  const now = (): number => (Date.now() - fleet.startMs) / 1000;
  await sleep(fleet.startMs - Date.now() + rampMs + normalMs, undefined, { signal });
  const offline = now();
  say('the network goes');
  fleet.offline();
  await sleep(outageMs, undefined, { signal });
  const backlog = fleet.counters.buffered;
  const online = now();
  say(`the network is back: ${backlog} records are kept`);
  fleet.online();
  // The backlog is 0 also before the workers have heard of it.
  await fleet.until(({ backlog: left }) => left > 0, 5_000, signal);
  const isFlushed = await fleet.until(({ backlog: left }) => left === 0, flushTimeoutMs, signal);
  const flushed = isFlushed ? now() : undefined;
  say(isFlushed ? `all of it is acked after ${(now() - online).toFixed(1)} s` : 'the flush is given up');
  await sleep(recoveryMs, undefined, { signal });
  return { marks: { offline, online, flushed, end: now() }, backlog };
}

function reasonOf(signal: AbortSignal): HoldfastError {
  const { reason } = signal as { reason: unknown };
  return reason instanceof HoldfastError ? reason : new HoldfastError('unhealthy', 'the burst was interrupted', false);
}
