/**
 * From a caller's desired change to the device: the time from just before POST …/shadow until the device's handler is called
 * with the delta, one change after the other. The processes are those that ship: edge, router, shadow; caller and device
 * are in the bench's own. What lies in between: the change is durable in the store before the delta goes out. A slice of
 * bare 4 KiB write+fdatasync on the same disk stands beside each store.
 */
import { Agent, request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { Device } from '../shared/device.js';
import type { BenchContext } from './context.js';
import { DiskFile, SMALL_WRITE_BYTES } from './disk.js';
import { untilAnswers, type BenchProcess } from './processes.js';
import { Redis, REDIS_EVERY_SECOND } from './peers/redis.js';
import type { RowCollector } from './results.js';
import { newRouterAddresses, startEdge, startRouter, startShadow, type ShadowService } from './services.js';
import { percentile, Samples } from './statistics.js';

export const CHANGES = 1_000;
const WARMUP_CHANGES = 200;
const THING = 'engine-1';
const DISK_SECONDS = 1;
const DISK = 'bare 4 KiB write+fdatasync';
const DELTA_DEADLINE_MS = 10_000;

/** @param hasRedis false: only LMDB is measured */
export async function measureDownlink(context: BenchContext, rows: RowCollector, hasRedis: boolean): Promise<void> {
  const file = new DiskFile(context.newDirectory('disk-file'));
  try {
    await measureStore(context, rows, 'lmdb', { SHADOW_DIRECTORY: context.newDirectory('shadow') });
    measureDisk(rows, file);
    if (!hasRedis) return;
    const redis = await Redis.start(context.newDirectory('redis'), REDIS_EVERY_SECOND);
    await measureStore(context, rows, 'redis', { SHADOW_REDIS: redis.url });
    await redis.process.stop('SIGKILL');
    measureDisk(rows, file);
  } finally {
    file.close();
  }
}

function measureDisk(rows: RowCollector, file: DiskFile): void {
  const disk = file.measure(SMALL_WRITE_BYTES, DISK_SECONDS);
  rows.add(DISK, 'p50', 'ms', percentile(disk, 0.5));
  rows.add(DISK, 'p99', 'ms', percentile(disk, 0.99));
}

async function measureStore(
  context: BenchContext,
  rows: RowCollector,
  store: 'lmdb' | 'redis',
  settings: Readonly<Record<string, string>>,
): Promise<void> {
  const side = `desired change → device, ${store}`;
  const started: BenchProcess[] = [];
  try {
    const router = await startRouter(context, context.newDirectory('router'), 'shadow', await newRouterAddresses());
    started.push(router.process);
    const shadow = await startShadow(context, router.addresses, { SHADOW_STORE: store, ...settings });
    started.push(shadow.process);
    await untilAnswers(shadow.process, shadow.adminPort, '/readyz');
    const downlink = { EDGE_DOWNLINK: shadow.downlink };
    const edge = await startEdge(context, context.newDirectory('edge'), router.addresses.intake, downlink);
    started.push(edge.process);
    await untilAnswers(edge.process, edge.adminPort, '/readyz');
    const samples = await changeDesired(edge.port, shadow);
    rows.add(side, 'p50', 'ms', percentile(samples, 0.5));
    rows.add(side, 'p99', 'ms', percentile(samples, 0.99));
    context.say(
      `${side}: p50 ${percentile(samples, 0.5).toFixed(2)} ms, p99 ${percentile(samples, 0.99).toFixed(2)} ms`,
    );
  } finally {
    for (const process of started.reverse()) await process.stop();
  }
}

/** @returns how long each change took to the device, in ms, ascending */
async function changeDesired(edgePort: number, shadow: ShadowService): Promise<Float64Array> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const device = new Device({ url: `ws://127.0.0.1:${edgePort}`, id: THING });
  let wanted = 0;
  let arrived: (atMs: number) => void = () => undefined;
  device.onDelta((delta) => {
    const { setting } = delta as { readonly setting?: unknown };
    if (setting === wanted) arrived(performance.now());
    return undefined;
  });
  try {
    device.connect();
    const samples = new Samples(CHANGES);
    for (let change = 1 - WARMUP_CHANGES; change <= CHANGES; change++) {
      wanted = change + WARMUP_CHANGES;
      const isArrived = new Promise<number>((resolve) => (arrived = resolve));
      const startedMs = performance.now();
      await postDesired(agent, shadow.port, wanted);
      const arrivedMs = await within(isArrived);
      if (change >= 1) samples.add(arrivedMs - startedMs);
    }
    return samples.sorted();
  } finally {
    await device.close();
    agent.destroy();
  }
}

async function within(arrival: Promise<number>): Promise<number> {
  const abort = new AbortController();
  const tooLate = sleep(DELTA_DEADLINE_MS, undefined, { signal: abort.signal }).then(
    () => {
      throw new Error(`no delta came within ${DELTA_DEADLINE_MS} ms`);
    },
    () => Number.NaN, // the delta was first
  );
  try {
    return await Promise.race([arrival, tooLate]);
  } finally {
    abort.abort();
  }
}

function postDesired(agent: Agent, port: number, setting: number): Promise<void> {
  const body = JSON.stringify({ state: { desired: { setting } } });
  const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
  return new Promise((resolve, reject) => {
    const path = `/things/${THING}/shadow`;
    const post = request({ agent, host: '127.0.0.1', port, method: 'POST', path, headers }, (response) => {
      response.on('error', reject);
      response.on('end', () => {
        if (response.statusCode === 200) resolve();
        else reject(new Error(`POST of a desired change answers ${response.statusCode ?? 0}`));
      });
      response.resume();
    });
    post.on('error', reject);
    post.end(body);
  });
}
