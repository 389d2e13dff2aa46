/** What a burst came to: its numbers, and which targets it met. */
import type { BurstPoint } from './burst-sampler.js';
import type { BurstRun } from './burst.js';

export interface Target {
  readonly what: string;
  readonly target: string;
  readonly found: string;
  readonly met: boolean;
}

export interface Findings {
  readonly targets: readonly Target[];
  /** From the network's return until everything that was kept is acked; undefined: given up. */
  readonly flushSeconds: number | undefined;
  readonly flushRecordsPerSecond: number | undefined;
  /** From the end of the flush until the p99 of acks is under 50 ms and stays there for a second. */
  readonly settleSeconds: number | undefined;
  /** Of the acks from 5 s after the flush to the end. */
  readonly recoveredAckP99Ms: number | undefined;
  readonly normalAckP99Ms: number | undefined;
  readonly edgeResidentBytes: number;
  readonly deepestEdgeQueue: number;
  readonly deepestRouterQueue: number;
}

const FLUSH_SECONDS = 15;
const RESIDENT_BYTES = 512e6;
const ACK_MS = 50;
const SETTLE_SECONDS = 5;
/** What pilots of this kind are asked for: 1,000 devices, 60,000 records. */
const PILOT_RECORDS_PER_SECOND = 5_000;
const PILOT_RECOVERY_SECONDS = 30;

export function findingsOf(run: BurstRun): Findings {
  const { marks, backlog, sampler } = run;
  const { points } = sampler;
  const flushSeconds = marks.flushed === undefined ? undefined : marks.flushed - marks.online;
  const settleSeconds = marks.flushed === undefined ? undefined : settled(points, marks.flushed);
  const numbers = {
    flushSeconds,
    flushRecordsPerSecond: flushSeconds === undefined ? undefined : backlog / flushSeconds,
    settleSeconds,
    recoveredAckP99Ms:
      marks.flushed === undefined ? undefined : sampler.latenciesFrom(marks.flushed + SETTLE_SECONDS).percentile(0.99),
    normalAckP99Ms: points.filter(({ seconds }) => seconds < marks.offline).at(-2)?.ackP99Ms,
    edgeResidentBytes: most(points, 'edgeResidentBytes'),
    deepestEdgeQueue: most(points, 'edgeQueue'),
    deepestRouterQueue: most(points, 'routerQueue'),
  };
  return { targets: targetsOf(run, numbers), ...numbers };
}

function targetsOf({ verification }: BurstRun, numbers: Omit<Findings, 'targets'>): readonly Target[] {
  const { flushSeconds, flushRecordsPerSecond = 0, settleSeconds, recoveredAckP99Ms, edgeResidentBytes } = numbers;
  const isRecovered = recoveredAckP99Ms !== undefined && recoveredAckP99Ms < ACK_MS;
  const recovery = flushSeconds === undefined || settleSeconds === undefined ? undefined : flushSeconds + settleSeconds;
  return [
    {
      what: 'everything that was kept is acked after the network is back',
      target: `≤ ${FLUSH_SECONDS} s`,
      found: inSeconds(flushSeconds),
      met: flushSeconds !== undefined && flushSeconds <= FLUSH_SECONDS,
    },
    {
      what: 'acked records that are lost',
      target: '0',
      found: String(verification.lost),
      met: verification.lost === 0,
    },
    {
      what: 'records twice in PostgreSQL',
      target: '0',
      found: String(verification.twice),
      met: verification.twice === 0,
    },
    {
      what: "the edge's resident memory, at most",
      target: '< 512 MB',
      found: `${(edgeResidentBytes / 1e6).toFixed(0)} MB`,
      met: edgeResidentBytes > 0 && edgeResidentBytes < RESIDENT_BYTES,
    },
    {
      what: `ack p99 from ${SETTLE_SECONDS} s after the flush on`,
      target: `< ${ACK_MS} ms`,
      found: `${recoveredAckP99Ms?.toFixed(1) ?? '–'} ms (first under it for a second after ${inSeconds(settleSeconds)})`,
      met: isRecovered,
    },
    {
      what: 'records a second during the flush (reference)',
      target: `> ${PILOT_RECORDS_PER_SECOND}`,
      found: flushRecordsPerSecond.toFixed(0),
      met: flushRecordsPerSecond > PILOT_RECORDS_PER_SECOND,
    },
    {
      what: 'recovered after the network is back (reference)',
      target: `< ${PILOT_RECOVERY_SECONDS} s`,
      found: inSeconds(recovery),
      met: recovery !== undefined && recovery < PILOT_RECOVERY_SECONDS,
    },
  ];
}

/** Two windows one after the other: a second. */
function settled(points: readonly BurstPoint[], flushed: number): number | undefined {
  const after = points.filter(({ seconds }) => seconds > flushed);
  const isGood = ({ ackP99Ms }: BurstPoint): boolean => ackP99Ms !== undefined && ackP99Ms < ACK_MS;
  const index = after.findIndex((point, at) => isGood(point) && after[at + 1] !== undefined && isGood(after[at + 1]!));
  return index < 0 ? undefined : after[index]!.seconds - flushed;
}

function most(points: readonly BurstPoint[], name: 'edgeResidentBytes' | 'edgeQueue' | 'routerQueue'): number {
  return points.reduce((greatest, point) => Math.max(greatest, point[name] ?? 0), 0);
}

function inSeconds(seconds: number | undefined): string {
  return seconds === undefined ? 'not reached' : `${seconds.toFixed(1)} s`;
}
