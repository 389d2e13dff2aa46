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
/** Small commits are written by pwrite64, larger ones and runs of pages by writev as well. */
const WRITE_CALLS = ['fdatasync', 'pwrite64', 'writev'] as const;
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
 * Every crash point of a run, of every kind. Kills come first, then disks that fail once, then those that fail for good; where the
 * time is over before a row's end the row says so.
 */
async function* points({ deadlineMs }: ClassOptions): AsyncGenerator<Outcome> {
  const kinds: CrashPoints[] = [];
  const faults = [{ fault: 'signal=KILL' }, { fault: 'error=EIO' }, { fault: 'error=EIO', forGood: true }] as const;
  for (const fault of faults) {
    for (const service of ['edge', 'router'] as const) {
      for (const part of ['opening', 'running'] as const) {
        for (const call of WRITE_CALLS) kinds.push({ ...fault, service, part, call });
      }
    }
  }
  const all = kinds.map((kind) => () => runCrashPoints(kind, deadlineMs));
  yield* each(all, deadlineMs);
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
