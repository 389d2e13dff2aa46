/** The classes of faults of a long run: each goes on until it has tried everything, or its time is over. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { straceMissing } from '../support/strace.js';
import { deviceClocks, jumpingClocks } from './clocks.js';
import { runCrashPoints, type CrashPoints } from './crash-points.js';
import { cutCommits, cutCopies, DATABASE_FAULTS, fullDatabaseDisk, meetDatabaseFault } from './dependencies.js';
import { fullEdgeDisk, fullRouterDisk, readOnlyDisk, slowDisk } from './disks.js';
import { Findings } from './history/findings.js';
import { mountMissing } from './mount.js';
import { longLine, NETWORK_FAULTS, networkMissing, runApart } from './network.js';
import type { Outcome } from './outcome.js';
import { losePower } from './power-loss.js';
import { cutWrites, fullRedisDisk, meetRedisFault, readOnlyRedisDisk, REDIS_FAULTS } from './redis.js';
import { losePartsOf } from './torn-files.js';

export interface ClassOptions {
  readonly seed: number;
  /** No more is begun after this. */
  readonly deadlineMs: number;
}

type FaultClass = (options: ClassOptions) => AsyncGenerator<Outcome>;

const MIB = 2 ** 20;
/** Calls at which a service is hit: since it was started, its opening and what it does under load; and since a moment of that. */
const [STARTED_CALLS, RUNNING_CALLS] = [96, 24];
const CALLS_A_RUN = 8;
const OUTAGE_MS = 6_000;
const SILENCE_MS = 60_000;

/** Why a class cannot be tried here; undefined: it can. */
export const CLASS_MISSING: Readonly<Record<string, () => string | undefined>> = {
  points: straceMissing,
  power: straceMissing,
  disks: () => mountMissing('ext4') ?? straceMissing(),
  network: networkMissing,
  database: () => mountMissing('tmpfs'),
  redis: () => mountMissing('ext4'),
};

export const CLASSES: Readonly<Record<string, FaultClass>> = { points, power, disks, network, database, redis };

/**
 * Every crash point: the n-th call of each kind since a service was started, for every n, and since a moment under load, for the
 * first ones. The first calls of all kinds come before the later ones of any.
 */
async function* points({ deadlineMs }: ClassOptions): AsyncGenerator<Outcome> {
  const kinds: Omit<CrashPoints, 'opening' | 'running'>[] = [];
  for (const fault of ['signal=KILL', 'error=EIO'] as const) {
    for (const service of ['edge', 'router'] as const) {
      for (const call of ['fdatasync', 'pwrite64'] as const) kinds.push({ service, call, fault });
    }
  }
  const all = rangesOf(1, STARTED_CALLS, CALLS_A_RUN).flatMap((opening) => {
    const running = opening.filter((n) => n <= RUNNING_CALLS);
    return kinds.map((kind) => () => pointsOf({ ...kind, opening, running }));
  });
  const forGood = (['edge', 'router'] as const).map(
    (service) => () =>
      runCrashPoints({ service, call: 'fdatasync', fault: 'error=EIO', opening: [1], running: [2, 5], forGood: true }),
  );
  yield* each([...all.slice(0, kinds.length), ...forGood, ...all.slice(kinds.length)], deadlineMs);
}

/** The numbers from `first` to `last`, some at a time. */
function rangesOf(first: number, last: number, size: number): number[][] {
  const ranges: number[][] = [];
  for (let from = first; from <= last; from += size) {
    ranges.push(Array.from({ length: Math.min(size, last - from + 1) }, (_, index) => from + index));
  }
  return ranges;
}

async function pointsOf(points: CrashPoints): Promise<Outcome> {
  const outcome = await runCrashPoints(points);
  return { ...outcome, fault: `${outcome.fault}, n = ${points.opening[0]} to ${points.opening.at(-1)}` };
}

async function* power({ seed, deadlineMs }: ClassOptions): AsyncGenerator<Outcome> {
  for (let round = 0; Date.now() < deadlineMs; round++) {
    const { images, problems } = await losePower({ appends: 100, images: 400, seed: seed + round });
    yield counted(`power lost (seed ${seed + round})`, images, problems);
    const torn = await losePartsOf({ files: 200, seed: seed + round });
    yield counted(`file torn or bit flipped (seed ${seed + round})`, 200, torn.problems);
  }
}

function counted(fault: string, tries: number, problems: readonly string[]): Outcome {
  return { fault, tries, lost: problems.length, doubled: 0, other: 0, recoverySeconds: [], lines: problems };
}

async function* disks({ deadlineMs }: ClassOptions): AsyncGenerator<Outcome> {
  const all = [
    () => fullEdgeDisk('tmpfs', MIB),
    () => fullEdgeDisk('tmpfs', 0),
    () => fullEdgeDisk('ext4', MIB),
    () => fullEdgeDisk('ext4', 0),
    () => fullRouterDisk('tmpfs'),
    () => fullRouterDisk('ext4'),
    () => readOnlyDisk('edge'),
    () => readOnlyDisk('router'),
    () => slowDisk('edge', 200),
    () => slowDisk('router', 200),
  ];
  yield* each(all, deadlineMs);
}

async function* network({ deadlineMs }: ClassOptions): AsyncGenerator<Outcome> {
  const directory = mkdtempSync(join(tmpdir(), 'holdfast-network-'));
  const apart = (name: string, forMs: number) => async (): Promise<Outcome> =>
    (await runApart([name], forMs, join(directory, 'hosts')))[0]!;
  // After a minute devices have given their connections up, and the edge has not: those are half-open when they come back.
  const long = [...Object.keys(NETWORK_FAULTS).filter((name) => name.includes('silent')), 'devices ↔ edge cut'];
  const all = [
    ...Object.keys(NETWORK_FAULTS).map((name) => apart(name, OUTAGE_MS)),
    () => longLine(200, OUTAGE_MS),
    ...long.map((name) => () => forLong(apart(name, SILENCE_MS)())),
  ];
  try {
    yield* each(all, deadlineMs);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

async function* database({ deadlineMs }: ClassOptions): AsyncGenerator<Outcome> {
  const all = [
    () => cutCommits(10),
    () => cutCopies(10),
    () => fullDatabaseDisk(OUTAGE_MS),
    () => jumpingClocks(2 * OUTAGE_MS),
    () => deviceClocks(),
    ...Object.keys(DATABASE_FAULTS).map((name) => () => meetDatabaseFault(name, OUTAGE_MS)),
    () => forLong(meetDatabaseFault('the table locked', SILENCE_MS)),
  ];
  yield* each(all, deadlineMs);
}

async function* redis({ deadlineMs }: ClassOptions): AsyncGenerator<Outcome> {
  const all = [
    ...Object.keys(REDIS_FAULTS).map((name) => () => meetRedisFault(name, OUTAGE_MS)),
    () => cutWrites(20),
    () => fullRedisDisk('everysec', OUTAGE_MS),
    () => fullRedisDisk('always', OUTAGE_MS),
    () => readOnlyRedisDisk(OUTAGE_MS),
    () => forLong(meetRedisFault('Redis silent (SIGSTOP)', SILENCE_MS)),
  ];
  yield* each(all, deadlineMs);
}

async function forLong(meeting: Promise<Outcome>): Promise<Outcome> {
  const outcome = await meeting;
  return { ...outcome, fault: `${outcome.fault}, for ${SILENCE_MS / 1_000} s` };
}

/** One after the other. A fault that cannot be gone through to its end is one that was found. */
async function* each(all: readonly (() => Promise<Outcome>)[], deadlineMs: number): AsyncGenerator<Outcome> {
  for (const one of all) if (Date.now() < deadlineMs) yield await one();
}

/** The outcome of a class that ended with an error. */
export function brokenOff(name: string, error: unknown): Outcome {
  const findings = new Findings();
  findings.add('position', String(error));
  return {
    fault: `${name}, broken off`,
    tries: 1,
    lost: 0,
    doubled: 0,
    other: 1,
    recoverySeconds: [],
    lines: findings.lines,
  };
}
