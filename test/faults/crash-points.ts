/**
 * A service killed, or failed by its disk, at the n-th call with which LMDB writes: every commit has such a point before,
 * between and after its writes. The service comes back, and what was acked is in the router's queue.
 *
 * A run is what a service does from its start to its end: it opens its queue, takes some records of some devices, is told to
 * end, and closes. LMDB writes on two threads: on the main one while it opens the queue, and from then on, until it is closed, on
 * one of libuv. Each is a part with calls of its own to count (see injection.ts), and each is tried with n = 1, 2, 3… until runs
 * have no n-th call any more. How commits are grouped is the machine's affair, so runs differ by some calls: only several runs
 * in a row that were not met end it.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ServiceProcess } from '../support/processes.js';
import { until } from '../support/processes.js';
import { Fleet } from './fleet.js';
import { injecting, Injector, ONE_THREAD, type Injection, type WriteCall } from './injection.js';
import { Line, type LineService } from './line.js';
import { outcomeOf, stopwatch, type Outcome } from './outcome.js';

export type Part = 'opening' | 'running';

export interface CrashPoints {
  readonly service: LineService;
  readonly call: WriteCall;
  /** `signal=KILL`, or `error=EIO`. */
  readonly fault: 'signal=KILL' | 'error=EIO';
  readonly part: Part;
  /** It fails once, or from then on, and also at the next start. */
  readonly forGood?: boolean;
  /** The calls to try; absent: every one. */
  readonly only?: readonly number[];
}

const DEVICES = 3;
/** Of a run: so often every device sends so many records, and waits for its acks. */
const [TURNS, TURN_RECORDS] = [6, 3];
/** As many runs in a row that had no n-th call are the end. */
const UNMET_RUNS = 3;
/** More calls than any run has. */
const MOST_CALLS = 500;
const MEET_TIMEOUT_MS = 60_000;

/**
 * Tries one point after the other on one line, until the run has no more of them or the time is over.
 * @throws Error where a service does not end as it must
 */
export async function runCrashPoints(points: CrashPoints, deadlineMs = Infinity): Promise<Outcome> {
  const line = await Line.start({ environment: ONE_THREAD });
  const fleet = new Fleet(line.edgeUrl, DEVICES, { prefix: 'point' });
  const recoverySeconds: number[] = [];
  let [last, unmet] = [0, 0];
  try {
    const numbers = points.only ?? Array.from({ length: MOST_CALLS }, (_, index) => index + 1);
    for (const n of numbers) {
      if (unmet >= UNMET_RUNS || Date.now() > deadlineMs) break;
      const seconds = await meetPoint(line, fleet, points, n);
      unmet = seconds === undefined ? unmet + 1 : 0;
      if (seconds === undefined) continue;
      recoverySeconds.push(seconds);
      last = n;
    }
    await fleet.flushed();
    const findings = await line.check(fleet);
    const isWhole = points.only === undefined && unmet >= UNMET_RUNS;
    const through = points.only?.join(' and ') ?? `1 to ${last}${isWhole ? ', all' : ', and there are more'}`;
    const fault = `${nameOf(points)}, n = ${last === 0 ? 'none' : through}`;
    return { ...outcomeOf(fault, [findings], recoverySeconds), tries: recoverySeconds.length };
  } finally {
    await fleet.close();
    fleet.history.close();
    await line.stop();
  }
}

function nameOf({ service, call, fault, part, forGood = false }: CrashPoints): string {
  const what = fault === 'signal=KILL' ? 'kill -9' : 'EIO';
  const when = part === 'opening' ? 'that opens its queue' : 'under load';
  return `${what} at the n-th ${call} of the ${service} ${when}${forGood ? ', and at every one after it' : ''}`;
}

function injectionOf(line: Line, points: CrashPoints, n: number): Injection {
  const when = points.forGood === true ? `${n}+` : `${n}`;
  return { call: points.call, fault: points.fault, when, path: line.dataFile(points.service) };
}

/** One run. @returns the seconds from the service's end until it is ready again; undefined: the run had no n-th call */
async function meetPoint(line: Line, fleet: Fleet, points: CrashPoints, n: number): Promise<number | undefined> {
  const own = line.services[points.service];
  const service = points.part === 'opening' ? await open(line, points, n) : own;
  const injector = points.part === 'running' ? await Injector.attach(own.pid, injectionOf(line, points, n)) : undefined;
  const work = takeRecords(line, fleet, points.service);
  work.catch(() => undefined);
  const ending = new AbortController();
  const ended = endOf(service, ending.signal);
  if (service.running) await Promise.race([work, ended]);
  // A service that is still there is told to end; its last calls are met then.
  const end = await service.end();
  ending.abort();
  await injector?.detach();
  const isMet = end !== 0;
  if (isMet) assertEnd(points, n, service, end);
  if (isMet && points.forGood === true) await failAgain(line, points);
  const seconds = stopwatch();
  await own.start();
  const recovered = seconds();
  await work;
  return isMet ? recovered : undefined;
}

/** Starts the service so that its main thread is met. @returns it, ready or at its end */
async function open(line: Line, points: CrashPoints, n: number): Promise<ServiceProcess> {
  await line.services[points.service].end();
  const service = line.service(points.service, injecting(injectionOf(line, points, n), 'main thread'));
  service.spawn();
  await until(async () => !service.running || (await service.waitingFor())?.length === 0);
  return service;
}

/** Devices have sent and were acked, and the router holds it. Every turn is a commit at least of the service that is tried. */
async function takeRecords(line: Line, fleet: Fleet, service: LineService): Promise<void> {
  for (let turn = 0; turn < TURNS; turn++) {
    fleet.send(TURN_RECORDS);
    await fleet.flushed();
    if (service === 'router') await forwarded(line);
  }
  await forwarded(line);
}

async function forwarded({ services: { edge } }: Line): Promise<void> {
  await until(async () => (await edge.metric('holdfast_queue_records').catch(() => Number.NaN)) === 0);
}

async function endOf(service: ServiceProcess, signal: AbortSignal): Promise<void> {
  await until(() => !service.running || signal.aborted);
}

/** The disk is as it was: also the next start fails. */
async function failAgain(line: Line, points: CrashPoints): Promise<void> {
  const again = line.service(points.service, injecting(injectionOf(line, points, 1)));
  again.spawn();
  const isOver = until(() => !again.running).then(() => true);
  if (!(await Promise.race([isOver, sleep(MEET_TIMEOUT_MS, false)]))) {
    await again.end('SIGKILL');
    throw new Error(`${nameOf(points)}: started again it did not end in ${MEET_TIMEOUT_MS} ms:\n${again.output}`);
  }
  assertEnd(points, 1, again, await again.end());
}

function assertEnd(points: CrashPoints, n: number, service: ServiceProcess, end: number | NodeJS.Signals): void {
  // After a write that failed lmdb-js may have damaged the heap, and then glibc ends the process before its exit does. It
  // has said why by then, and acked nothing since. Napi::Error is what it said when a thread of its own was cut off.
  const isHeap = (end === 'SIGABRT' || end === 'SIGSEGV') && !service.output.includes('Napi::Error');
  const hasFailed = (typeof end === 'number' && end > 0) || (isHeap && service.output.includes('commit_failed'));
  const isRight =
    points.fault === 'signal=KILL' ? end === 'SIGKILL' : hasFailed && /Input\/output error/.test(service.output);
  if (!isRight) throw new Error(`${nameOf(points)}: with n = ${n} it ended with ${end}:\n${service.output}`);
}
