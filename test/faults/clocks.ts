/** Clocks that jump at every service, and devices whose clocks are decades off. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { packagePath } from '../../shared/paths.js';
import { inPipeline } from './dependencies.js';
import type { Fleet } from './fleet.js';
import type { Outcome } from './outcome.js';

const HOUR_MS = 3_600_000;
const CLOCK = packagePath('dist', 'test', 'faults', 'shifted-clock.js');

/** The keys of a service whose clock is ahead of the machine's by the ms in `file`. */
export function clockKeys(file: string): Readonly<Record<string, string>> {
  return { HOLDFAST_TEST_CLOCK: file, NODE_OPTIONS: `--import=${CLOCK}` };
}

/** Every service's clock jumps an hour ahead, back, an hour behind and back; each edge and router is opened anew in between. */
export async function jumpingClocks(forMs: number): Promise<Outcome> {
  const directory = mkdtempSync(join(tmpdir(), 'holdfast-clock-'));
  const file = join(directory, 'shift');
  writeFileSync(file, '0');
  const environment = clockKeys(file);
  try {
    return await inPipeline('clocks that jump ± 1 h', { environment }, forMs, async ({ pipeline }) => {
      const { edge, router } = pipeline.services;
      for (const shiftMs of [HOUR_MS, 0, -HOUR_MS, 0]) {
        writeFileSync(file, `${shiftMs}`);
        await sleep(forMs / 4);
        await router.end('SIGKILL');
        await edge.end('SIGKILL');
        await Promise.all([edge.start(), router.start()]);
      }
    });
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** Devices whose clocks say 1970 and 2100: what they send is stored all the same, once. */
export function deviceClocks(): Promise<Outcome> {
  const clocks = [0, Date.UTC(2100, 0, 1)];
  const timeMs = (device: number, seq: number): number => clocks[device % clocks.length]! + seq;
  return inPipeline('device clocks of 1970 and 2100', {}, 0, ({ fleet }) => sendTwice(fleet), { timeMs });
}

async function sendTwice(fleet: Fleet): Promise<void> {
  fleet.send(500);
  await fleet.flushed();
  fleet.send(500);
}
