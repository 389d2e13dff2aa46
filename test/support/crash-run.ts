/**
 * A fleet that sends through a pipeline while its services are killed with -9 at random moments, and the history of it.
 * The schedule of kills comes from a seed; when each kill meets which record does not.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Device } from '../../shared/device.js';
import { HoldfastError } from '../../shared/errors.js';
import { dataOf, History } from './history.js';
import type { Pipeline, PipelineService } from './pipeline.js';
import { until } from './processes.js';

export interface CrashRun {
  readonly devices: number;
  /** Records to send at least. */
  readonly records: number;
  /** Kills of each of these services at least. */
  readonly kills: Readonly<Partial<Record<PipelineService, number>>>;
  readonly seed: number;
}

const UNACKED_RECORDS = 1_000;
const TURN_RECORDS = 50;
const TURN_MS = 5;
const MAX_PAUSE_MS = 900;

/** Runs it until everything sent is acked; storage may still be behind. */
export async function runCrashes(pipeline: Pipeline, run: CrashRun): Promise<History> {
  const history = new History();
  const devices = Array.from({ length: run.devices }, (_, index) => makeDevice(pipeline, index, history));
  for (const device of devices) device.connect();
  const killing = { over: false };
  const kills = killServices(pipeline, run).finally(() => (killing.over = true));
  // Sending goes on until the last kill, so that every kill meets a pipeline under load.
  while (!killing.over || history.sentRecords < run.records) {
    for (const device of devices) sendSome(device, history);
    await sleep(TURN_MS);
  }
  await kills;
  await Promise.all(devices.map((device) => device.flushed()));
  await Promise.all(devices.map((device) => device.close()));
  return history;
}

/** Waits until storage has acked everything that the router holds. */
export async function drained(pipeline: Pipeline): Promise<void> {
  const { edge, router } = pipeline.services;
  await until(async () => (await edge.metric('holdfast_queue_records')) === 0);
  await until(async () => (await router.metric('holdfast_queue_records')) === 0);
}

function makeDevice(pipeline: Pipeline, index: number, history: History): Device {
  const id = `crash-${index + 1}`;
  const protocol = index % 2 === 0 ? 'json' : 'binary';
  const device = new Device({ url: pipeline.edgeUrl, id, protocol, minBackoffMs: 50, maxBackoffMs: 500 });
  device.on('ack', (seq) => history.acked(id, seq));
  device.on('refused', (seq) => history.refused(id, seq));
  return device;
}

function sendSome(device: Device, history: History): void {
  for (let count = 0; count < TURN_RECORDS && device.unacked < UNACKED_RECORDS; count++) {
    const seq = device.lastSeq + 1;
    try {
      device.send(dataOf(device.id, seq));
    } catch (error) {
      if (error instanceof HoldfastError && error.code === 'buffer_full') return;
      throw error;
    }
    history.sent(device.id, seq);
  }
}

async function killServices({ services }: Pipeline, run: CrashRun): Promise<void> {
  const random = randomFrom(run.seed);
  const left = Object.entries(run.kills).flatMap(([name, count]) => Array<string>(count).fill(name));
  while (left.length > 0) {
    const [name] = left.splice(Math.floor(random() * left.length), 1);
    const service = services[name as PipelineService];
    await sleep(random() * MAX_PAUSE_MS);
    await service.end('SIGKILL');
    // Sometimes it is back at once, sometimes others are killed before it is.
    service.spawn();
    if (random() < 0.7) await service.untilReady();
  }
  await Promise.all(Object.values(services).map((service) => service.untilReady()));
}

/** Numbers in [0, 1) from a seed: mulberry32. */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
