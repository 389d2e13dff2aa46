/**
 * Queue files that were torn: cut off at a page, or with a bit flipped. Each is refused in words, or opened with every batch
 * there or counted in quarantine; never as an empty queue, and never with less in silence.
 */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Queue } from '../../shared/queue/queue.js';
import { makeBatch, queueOptions } from '../support/batches.js';
import { openApart } from './power-loss.js';
import { randomFrom } from './random.js';

export interface TornFiles {
  readonly files: number;
  readonly seed: number;
}

export interface TornResult {
  readonly refused: number;
  /** Opened, with batches in quarantine. */
  readonly counted: number;
  /** Opened, with all of it there. */
  readonly whole: number;
  readonly problems: readonly string[];
}

const PAGE_BYTES = 4096;
const BATCHES = 60;
const OPENED_AT_ONCE = 40;

export async function losePartsOf({ files, seed }: TornFiles): Promise<TornResult> {
  const root = mkdtempSync(join(tmpdir(), 'holdfast-torn-'));
  const whole = join(root, 'whole');
  const random = randomFrom(seed);
  const result = { refused: 0, counted: 0, whole: 0, problems: [] as string[] };
  try {
    await fill(whole);
    const good = readFileSync(join(whole, 'data.mdb'));
    for (let done = 0; done < files; done += OPENED_AT_ONCE) {
      const torn = new Map<string, string>();
      for (let file = done; file < Math.min(files, done + OPENED_AT_ONCE); file++) {
        const path = join(root, `torn-${file}`);
        mkdirSync(path);
        cpSync(join(whole, 'queue.json'), join(path, 'queue.json'));
        const { data, what } = file % 2 === 0 ? cutOff(good, random) : flipped(good, random);
        writeFileSync(join(path, 'data.mdb'), data);
        torn.set(path, what);
      }
      const opened = await openApart([...torn.keys()]);
      for (const [path, what] of torn) {
        const one = opened.get(path);
        const missing = BATCHES - (one?.seqs.length ?? 0);
        if (one === undefined) result.problems.push(`${what}: opening it ended the process`);
        else if (one.code === 'queue_unreadable') result.refused++;
        else if (one.code !== undefined) result.problems.push(`${what}: ${one.message ?? one.code}`);
        else if (missing !== one.quarantined)
          result.problems.push(`${what}: ${missing} missing, ${one.quarantined} counted`);
        else if (missing > 0) result.counted++;
        else result.whole++;
        rmSync(path, { recursive: true });
      }
    }
    return result;
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

async function fill(path: string): Promise<void> {
  const queue = Queue.open(path, queueOptions());
  for (let seq = 1; seq <= BATCHES; seq++) {
    await queue.append([makeBatch([seq], seq % 3 === 0 ? 20_000 : 300)], [['source/a', { epoch: 1, offset: seq }]]);
  }
  await queue.close();
}

function cutOff(good: Buffer, random: () => number): { data: Buffer; what: string } {
  const pages = Math.floor(random() * (good.length / PAGE_BYTES));
  return { data: good.subarray(0, pages * PAGE_BYTES), what: `cut off after ${pages} pages` };
}

function flipped(good: Buffer, random: () => number): { data: Buffer; what: string } {
  const data = Buffer.from(good);
  const at = Math.floor(random() * data.length);
  const bit = Math.floor(random() * 8);
  data[at]! ^= 1 << bit;
  return { data, what: `bit ${bit} of byte ${at} flipped` };
}
