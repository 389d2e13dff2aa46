/**
 * Memory of a thing that shadow holds: bytes of the process with 100,000 of them less those before, each after all garbage
 * was collected and the size has come to rest. The store is LMDB, whose file is not counted: what is mapped of it is the
 * kernel's to take back.
 */
import { packagePath } from '../shared/paths.js';
import type { BenchContext } from './context.js';
import { restingMemory } from './idle.js';
import { startNode, type BenchProcess } from './processes.js';
import { atMost, type RowCollector, type Verdict } from './results.js';
import { shadowAddresses } from './services.js';
import { DEVICES } from './shadow-reports.js';

const SIDE = 'a hot thing';
const DEADLINE_MS = 60_000;

export async function measureMemory(context: BenchContext, rows: RowCollector): Promise<Verdict> {
  const directory = context.newDirectory('shadow');
  const options = ['--expose-gc', '--import', packagePath('dist', 'bench', 'collect-garbage.js')];
  const settings = { SHADOW_STORE: 'lmdb', SHADOW_DIRECTORY: directory, ...(await shadowAddresses()) };
  const child = startNode('hot things', packagePath('dist', 'bench', 'hot-things.js'), [], settings, options);
  try {
    await child.message('ready', DEADLINE_MS);
    const before = await look(child);
    child.send({ event: 'make', values: {} });
    await child.message('made', DEADLINE_MS);
    const after = await look(child);
    const resident = (after.residentBytes - before.residentBytes) / DEVICES;
    const heap = (after.heapBytes - before.heapBytes) / DEVICES;
    rows.add(SIDE, 'resident', 'bytes', resident);
    rows.add(SIDE, 'JavaScript heap and buffers', 'bytes', heap);
    rows.add(SIDE, `resident with ${DEVICES}`, 'MB', after.residentBytes / 1e6);
    context.say(`a hot thing: ${Math.round(resident)} bytes resident, ${Math.round(heap)} of them heap and buffers`);
    return atMost('KB a hot thing, resident', resident / 1000, 2);
  } finally {
    await child.stop('SIGKILL');
    context.remove(directory);
  }
}

async function look(child: BenchProcess): Promise<{ residentBytes: number; heapBytes: number }> {
  const { anonymousBytes } = await restingMemory(child);
  child.send({ event: 'look', values: {} });
  const { heapBytes, externalBytes } = await child.message('heap');
  return { residentBytes: anonymousBytes, heapBytes: heapBytes! + externalBytes! };
}
