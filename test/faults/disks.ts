/** Disks that fill up, turn read-only or are slow, beneath the queue of the edge or the router. */
import { join } from 'node:path';
import { until, type ServiceProcess } from '../support/processes.js';
import { Fleet } from './fleet.js';
import { Injector, ONE_THREAD } from './injection.js';
import { Line, type LineService } from './line.js';
import { Mount, type MountKind } from './mount.js';
import { outcomeOf, stopwatch, type Outcome } from './outcome.js';

const MIB = 2 ** 20;
const DISK_BYTES = 32 * MIB;
const FLOOR = { EDGE_DISK_FLOOR: '4MiB', ROUTER_DISK_FLOOR: '4MiB', EDGE_RETRY_AFTER: '100ms' } as const;
const DEVICES = 4;
const RECORDS = 500;

interface Stage {
  readonly line: Line;
  readonly fleet: Fleet;
  readonly mount: Mount;
}

/** A line with one of its queues on a small disk; everything has arrived when `work` begins, and must when it is over. */
async function onSmallDisk(
  fault: string,
  kind: MountKind,
  service: LineService,
  work: (stage: Stage) => Promise<() => number>,
): Promise<Outcome> {
  const mount = Mount.make(kind, DISK_BYTES);
  const line = await Line.start({ queues: { [service]: join(mount.path, 'queue') }, environment: FLOOR });
  const fleet = new Fleet(line.edgeUrl, DEVICES, { prefix: 'disk' });
  try {
    fleet.send(RECORDS);
    await fleet.flushed();
    const seconds = await work({ line, fleet, mount });
    fleet.send(RECORDS);
    await fleet.flushed();
    const recoverySeconds = seconds();
    return outcomeOf(`${fault}, ${kind}`, [await line.check(fleet)], [recoverySeconds]);
  } finally {
    await fleet.close();
    fleet.history.close();
    await line.stop();
    mount.remove();
  }
}

/**
 * The edge's disk is filled by somebody else, down to `leaveBytes`: devices get 1013, and the edge neither ends nor writes;
 * started anew on the full disk it stays. Then the space is back.
 */
export function fullEdgeDisk(kind: MountKind, leaveBytes: number): Promise<Outcome> {
  const fault = `the edge's disk is full but for ${leaveBytes / MIB} MiB`;
  return onSmallDisk(fault, kind, 'edge', async ({ line, fleet, mount }) => {
    const { edge } = line.services;
    mount.fill(leaveBytes);
    fleet.send(RECORDS);
    await until(() => fleet.closes.some((close) => /^1013 retry-after:\d+$/.test(close)));
    assertRunning(edge);
    await edge.end('SIGKILL');
    await edge.start();
    const closes = fleet.closes.length;
    await until(() => fleet.closes.slice(closes).some((close) => close.startsWith('1013')));
    assertRunning(edge);
    mount.empty();
    return stopwatch();
  });
}

/** The router's disk is full: the edge gets no credit and keeps what comes. */
export function fullRouterDisk(kind: MountKind): Promise<Outcome> {
  return onSmallDisk("the router's disk is full", kind, 'router', async ({ line, fleet, mount }) => {
    const { edge, router } = line.services;
    mount.fill(MIB);
    fleet.send(RECORDS);
    await fleet.flushed();
    await until(async () => (await edge.metric('holdfast_queue_records')) > 0);
    assertRunning(router);
    mount.empty();
    return stopwatch();
  });
}

function assertRunning(service: ServiceProcess): void {
  if (!service.running) throw new Error(`the ${service.words.join(' ')} ended on a full disk:\n${service.output}`);
}

/** An ext4 turns read-only: the service says so and ends, and comes back when the disk was repaired. */
export function readOnlyDisk(service: LineService): Promise<Outcome> {
  return onSmallDisk(`the ${service}'s disk turns read-only`, 'ext4', service, async ({ line, fleet, mount }) => {
    const failing = line.services[service];
    mount.abort();
    fleet.send(RECORDS);
    await until(() => !failing.running);
    if (!/Read-only file system/.test(failing.output)) throw new Error(`the ${service} says:\n${failing.output}`);
    failing.spawn();
    await until(() => !failing.running);
    mount.repair();
    const seconds = stopwatch();
    await failing.start();
    return seconds;
  });
}

/** Every fdatasync takes `delayMs` longer: acks wait for it. */
export async function slowDisk(service: LineService, delayMs: number): Promise<Outcome> {
  const line = await Line.start({ environment: ONE_THREAD });
  const fleet = new Fleet(line.edgeUrl, DEVICES, { prefix: 'slow' });
  const injection = {
    call: 'fdatasync',
    fault: `delay_enter=${1_000 * delayMs}`,
    when: '1+',
    path: line.dataFile(service),
  } as const;
  try {
    const injector = await Injector.attach(line.services[service].pid, injection);
    for (let turn = 0; turn < 5; turn++) {
      fleet.send(RECORDS / 5);
      await fleet.flushed();
    }
    await injector.detach();
    const seconds = stopwatch();
    const findings = await line.check(fleet);
    return outcomeOf(`the ${service}'s disk takes ${delayMs} ms more for an fdatasync`, [findings], [seconds()]);
  } finally {
    await fleet.close();
    fleet.history.close();
    await line.stop();
  }
}
