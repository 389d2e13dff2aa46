/** A run of `holdfast fleet`: start, what its controls say, the end, and the check of what was acked. */
import { once } from 'node:events';
import { HoldfastError } from '../../shared/errors.js';
import { Controls } from './controls.js';
import { Fleet, type FleetOptions } from './fleet.js';
import { Screen } from './screen.js';
import type { ScriptStep } from './script.js';
import { resultOf, StatusLine, type FleetResult } from './status.js';
import { verify, type Verification } from './verify.js';

export interface RunOptions extends FleetOptions {
  /** Undefined: until it is told to quit. */
  readonly durationMs: number | undefined;
  readonly script: readonly ScriptStep[];
  /** The database to verify in; undefined: nothing is verified. */
  readonly databaseUrl: string | undefined;
  readonly verifyWaitMs: number;
}

/** How long what is unacked at the end may take. */
const DRAIN_MS = 60_000;
/** The clock of this machine may be set while a fleet runs: the times of its records are looked for in a wider span. */
export const CLOCK_SLACK_MS = 3_600_000;

/** @throws HoldfastError device_refused and others where the fleet cannot go on */
export async function runFleet(options: RunOptions): Promise<FleetResult> {
  const fleet = new Fleet(options);
  const screen = new Screen(process.stderr, process.stderr.isTTY);
  const failed = new AbortController();
  let failure: HoldfastError | undefined;
  fleet.on('failed', (error) => {
    failure ??= error;
    failed.abort();
  });
  await fleet.start();
  const status = new StatusLine(fleet);
  const controls = new Controls(fleet, {
    script: options.script,
    durationMs: options.durationMs,
    terminal: process.stdin.isTTY ? process.stdin : undefined,
    say: (line) => screen.say(line),
    showStatus: () => screen.say(status.next()),
  });
  try {
    screen.say(`fleet ${fleet.run}: ${options.devices} devices at ${options.edge}, ${fleet.processes} process(es)`);
    screen.start(() => status.next());
    await aborted(AbortSignal.any([controls.quit.signal, failed.signal]));
    if (failure !== undefined) throw failure;
    return await endFleet(fleet, options, screen, AbortSignal.any([controls.now.signal, failed.signal]));
  } finally {
    controls.stop();
    screen.stop();
    fleet.kill();
  }
}

async function endFleet(fleet: Fleet, options: RunOptions, screen: Screen, now: AbortSignal): Promise<FleetResult> {
  fleet.quiet();
  if (fleet.isOnline) await fleet.drained(DRAIN_MS, now);
  const ledger = await fleet.finish();
  const { counters, run, startMs } = fleet;
  screen.stop();
  const { databaseUrl, verifyWaitMs } = options;
  let verification: Verification | undefined;
  if (databaseUrl !== undefined) {
    screen.say(`verifying ${counters.acked} acked records, for at most ${verifyWaitMs / 1000} s`);
    verification = await verify(ledger, {
      url: databaseUrl,
      run,
      fromMs: startMs - CLOCK_SLACK_MS,
      throughMs: Date.now() + CLOCK_SLACK_MS,
      waitMs: verifyWaitMs,
    });
  }
  return resultOf(fleet, counters, verification);
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (!signal.aborted) await once(signal, 'abort');
}
