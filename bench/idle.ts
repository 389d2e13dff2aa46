/**
 * Memory of the edge for idle connections: resident bytes of its process with 10,000 connected devices, less those
 * before, over 10,000. Before both looks all garbage is collected, and the size must have come to rest.
 *
 * "Before" is after a first hundred devices came and went: what the process keeps for having served anybody is not
 * counted as theirs. Sockets' memory in the kernel is not the process's, and not counted. The counting server stands
 * beside it: its number is what uWebSockets.js, Node and a session object cost.
 */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BenchContext } from './context.js';
import { startCountingServer } from './edge.js';
import { packagePath } from '../shared/paths.js';
import { freePort } from './ports.js';
import { startNode, type BenchProcess } from './processes.js';
import { atMost, RowCollector, type PartResult } from './results.js';
import { startEdge } from './services.js';
import { median } from './statistics.js';

const CONNECTIONS = 10_000;
const FIRST_CONNECTIONS = 100;
/** File descriptors that a process needs beside its connections. */
const SPARE_DESCRIPTORS = 200;
const CONNECT_DEADLINE_MS = 120_000;
const LOOK_EVERY_MS = 500;
const REST_BYTES = 256 * 1024;
const MAX_LOOKS = 40;

/** The part `idle`. */
export async function benchIdle(context: BenchContext): Promise<PartResult> {
  assertDescriptors();
  const rows = new RowCollector();
  const collector = packagePath('dist', 'bench', 'collect-garbage.js');
  const nodeOptions = ['--expose-gc', '--import', collector];
  for (let round = 1; round <= context.options.rounds; round++) {
    const queue = context.newDirectory('edge');
    const edge = await startEdge(context, queue, `tcp://127.0.0.1:${await freePort()}`, {}, nodeOptions);
    try {
      await measure('edge', edge.process, edge.port, rows);
    } finally {
      await edge.process.stop();
      context.remove(queue);
    }
    const counting = await startCountingServer(context, nodeOptions);
    try {
      await measure('counting server', counting.process, counting.port, rows);
    } finally {
      await counting.process.stop();
    }
    context.say(`round ${round}: ${rows.values('edge', 'a connection').map(Math.round).join(', ')} bytes a connection`);
  }
  return {
    part: 'idle',
    method:
      'Resident memory before and with the connections, each after all garbage was collected, in a fresh process.',
    settings: { rounds: context.options.rounds, connections: CONNECTIONS, 'connections before': FIRST_CONNECTIONS },
    rows: rows.rows,
    verdicts: [atMost('KB a connection', median(rows.values('edge', 'a connection')) / 1000, 6)],
    notes: [],
  };
}

async function measure(side: string, server: BenchProcess, port: number, rows: RowCollector): Promise<void> {
  const first = await connectDevices(port, FIRST_CONNECTIONS);
  await first.stop();
  const before = await restingMemory(server);
  const devices = await connectDevices(port, CONNECTIONS);
  const during = await restingMemory(server);
  await devices.stop();
  rows.add(side, 'a connection', 'bytes', (during.residentBytes - before.residentBytes) / CONNECTIONS);
  rows.add(side, 'a connection, without files', 'bytes', (during.anonymousBytes - before.anonymousBytes) / CONNECTIONS);
  rows.add(side, 'resident before', 'MB', before.residentBytes / 1e6);
  rows.add(side, 'resident with all', 'MB', during.residentBytes / 1e6);
}

async function connectDevices(port: number, count: number): Promise<BenchProcess> {
  const script = packagePath('dist', 'bench', 'idle-devices.js');
  const devices = startNode('idle devices', script, [String(port), String(count)]);
  await devices.message('connected', CONNECT_DEADLINE_MS);
  return devices;
}

/** Memory after collections, when two looks in a row agree. */
export async function restingMemory(server: BenchProcess): Promise<ReturnType<BenchProcess['memory']>> {
  let last = server.memory();
  for (let look = 0; look < MAX_LOOKS; look++) {
    server.signal('SIGUSR2');
    await sleep(LOOK_EVERY_MS);
    server.assertRunning();
    const now = server.memory();
    if (Math.abs(now.residentBytes - last.residentBytes) < REST_BYTES) return now;
    last = now;
  }
  throw new Error(`the memory of ${server.name} did not come to rest`);
}

/** Node raises its own soft limit to the hard one, so the hard limit counts. */
function assertDescriptors(): void {
  const limits = readFileSync('/proc/self/limits', 'latin1');
  const hard = Number(/^Max open files\s+\S+\s+(\d+)/m.exec(limits)?.[1] ?? Number.POSITIVE_INFINITY);
  const needed = CONNECTIONS + SPARE_DESCRIPTORS;
  if (hard < needed) throw new Error(`${needed} open files are needed, and ${hard} allowed: raise ulimit -Hn`);
}
