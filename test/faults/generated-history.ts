/**
 * A history of any size, and the table that belongs to it, to show what the checker can take. As a command it prints what
 * checking one cost: `node dist/test/faults/generated-history.js 10000000`.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { HistoryCheck, type Row } from './history/check.js';
import { EntryType, HistoryLog } from './history/log.js';

export interface Generated {
  readonly devices: number;
  readonly records: number;
  /** The row, counted from 0, that is not in the table. */
  readonly missing?: number;
  /** The row that is there twice. */
  readonly twice?: number;
}

const ACK_EVERY = 10;
const BLOCK_ROWS = 20_000;

/** Devices that send one record each in turn; all is acked in the end. */
export function generateHistory(path: string, { devices, records }: Generated): void {
  const log = new HistoryLog(path);
  for (let row = 0; row < records; row++) {
    const seq = seqOf(row, devices);
    log.write(EntryType.telemetry, idOf(row, devices), seq);
    if (seq % ACK_EVERY === 0 || row + devices >= records) log.write(EntryType.acked, idOf(row, devices), seq);
  }
  log.close();
}

export async function* generatedRows({ devices, records, missing, twice }: Generated): AsyncGenerator<readonly Row[]> {
  let block: Row[] = [];
  for (let row = 0; row < records; row++) {
    const one: Row = { deviceId: idOf(row, devices), seq: seqOf(row, devices), kind: 'telemetry' };
    if (row !== missing) block.push(one);
    if (row === twice) block.push(one);
    if (block.length >= BLOCK_ROWS) {
      yield block;
      await new Promise(setImmediate);
      block = [];
    }
  }
  yield block;
}

function idOf(row: number, devices: number): string {
  return `d${row % devices}`;
}

function seqOf(row: number, devices: number): number {
  return 1 + Math.floor(row / devices);
}

async function main(records: number): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'holdfast-generated-'));
  const generated = { devices: 1_000, records, missing: records - 2, twice: 1 };
  const path = join(directory, 'log');
  generateHistory(path, generated);
  const startMs = Date.now();
  const check = new HistoryCheck(path);
  await check.table(generatedRows(generated));
  const seconds = (Date.now() - startMs) / 1_000;
  const mebibytes = Math.round(process.memoryUsage().rss / 2 ** 20);
  console.log(`${records} records checked in ${seconds} s; the process has ${mebibytes} MiB`);
  for (const line of check.findings.lines) console.log(line);
  rmSync(directory, { recursive: true });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main(Number(process.argv[2]));
