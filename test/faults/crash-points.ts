/**
 * A service killed, or failed by its disk, at the n-th call with which LMDB writes: every commit has such a point before,
 * between and after its writes. The service comes back, and what was acked is in the router's queue.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ServiceProcess } from '../support/processes.js';
import { until } from '../support/processes.js';
import { Fleet } from './fleet.js';
import { injecting, Injector, ONE_THREAD, type Injection, type WriteCall } from './injection.js';
import { Line, type LineService } from './line.js';
import { outcomeOf, stopwatch, type Outcome } from './outcome.js';

export interface CrashPoints {
  readonly service: LineService;
  readonly call: WriteCall;
  /** `signal=KILL`, or `error=EIO`. */
  readonly fault: 'signal=KILL' | 'error=EIO';
  /** The calls that are hit: counted from the service's start, where it opens its queue, and from a moment under load. */
  readonly opening: readonly number[];
  readonly running: readonly number[];
  /** It fails once, or from then on, and also at the next start. */
  readonly forGood?: boolean;
}

const DEVICES = 3;
/** A service that was not met by its fault within this time has made fewer calls. */
const MEET_TIMEOUT_MS = 30_000;

/** Tries one point after the other on one line, under one fleet. @throws Error where a service does not end as it must */
export async function runCrashPoints(points: CrashPoints): Promise<Outcome> {
  const line = await Line.start({ environment: ONE_THREAD });
  const fleet = new Fleet(line.edgeUrl, DEVICES, { prefix: 'point', turnRecords: 2 });
  const recoverySeconds: number[] = [];
  let tries = 0;
  const tryAll = async (): Promise<void> => {
    for (const n of points.running) recoverySeconds.push(await meetRunning(line, points, n));
    for (const n of points.opening) recoverySeconds.push(await meetOpening(line, points, n));
    tries = points.running.length + points.opening.length;
  };
  try {
    await fleet.during(tryAll());
    await fleet.flushed();
    const findings = await line.check(fleet);
    return { ...outcomeOf(nameOf(points), [findings], recoverySeconds), tries };
  } finally {
    await fleet.close();
    fleet.history.close();
    await line.stop();
  }
}

function nameOf({ service, call, fault, forGood = false }: CrashPoints): string {
  const what = fault === 'signal=KILL' ? 'kill -9' : 'EIO';
  return `${what} at the n-th ${call} of the ${service}${forGood ? ', and at every one after it' : ''}`;
}

function injectionOf(line: Line, points: CrashPoints, n: number): Injection {
  const when = points.forGood === true ? `${n}+` : `${n}`;
  return { call: points.call, fault: points.fault, when, path: line.dataFile(points.service) };
}

/** The service runs, meets its fault and comes back. @returns the seconds from its end until it is ready */
async function meetRunning(line: Line, points: CrashPoints, n: number): Promise<number> {
  const service = line.services[points.service];
  const injector = await Injector.attach(service.pid, injectionOf(line, points, n));
  await untilEnded(service, points, n);
  await injector.detach();
  return comeBack(line, points, service);
}

/** The service meets its fault while it opens its queue. */
async function meetOpening(line: Line, points: CrashPoints, n: number): Promise<number> {
  const own = line.services[points.service];
  await own.end();
  const doomed = line.service(points.service, injecting(injectionOf(line, points, n)));
  doomed.spawn();
  await untilEnded(doomed, points, n);
  return comeBack(line, points, own);
}

async function comeBack(line: Line, points: CrashPoints, service: ServiceProcess): Promise<number> {
  if (points.forGood === true) {
    const again = line.service(points.service, injecting(injectionOf(line, points, 1)));
    again.spawn();
    await untilEnded(again, points, 1);
  }
  const seconds = stopwatch();
  await service.start();
  return seconds();
}

async function untilEnded(service: ServiceProcess, points: CrashPoints, n: number): Promise<void> {
  const met = until(() => !service.running).then(() => true);
  if (!(await Promise.race([met, sleep(MEET_TIMEOUT_MS, false)]))) {
    await service.end('SIGKILL');
    throw new Error(`${nameOf(points)}: with n = ${n} it did not end in ${MEET_TIMEOUT_MS} ms:\n${service.output}`);
  }
  const end = await service.end();
  // After a write that failed lmdb-js may have damaged the heap, and then glibc ends the process before its exit does. It
  // has said why by then, and acked nothing since. Napi::Error is what it said when a thread of its own was cut off.
  const isHeap = (end === 'SIGABRT' || end === 'SIGSEGV') && !service.output.includes('Napi::Error');
  const hasFailed = (typeof end === 'number' && end > 0) || (isHeap && service.output.includes('commit_failed'));
  const isRight =
    points.fault === 'signal=KILL' ? end === 'SIGKILL' : hasFailed && /Input\/output error/.test(service.output);
  if (!isRight) throw new Error(`${nameOf(points)}: with n = ${n} it ended with ${end}:\n${service.output}`);
}
