/** The checker against histories whose faults are known: every rule fires where it is broken, and nowhere else. */
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { test } from 'tap';
import { BatchBuilder, Kind } from '../../../shared/batch.js';
import { generateHistory, generatedRows } from '../generated-history.js';
import { HistoryCheck, type Row } from './check.js';
import { Findings } from './findings.js';
import { EntryType, HistoryLog } from './log.js';
import { dataOf, payloadOf } from './payload.js';
import { checkSamples, type PositionSample } from './positions.js';
import { readRecords } from './records.js';
import { checkShadows } from './shadows.js';
import { testDirectory } from '../../support/directory.js';

const DEVICE = 'press-1';
const SENT = 60;
const ACKED = 50;
const REFUSED = 7;
const RULES = { holdsAll: true, isOnce: true };

/** A device that sent 60 records, every fifth a report; 50 are acked, one is refused. */
function writeLog(path: string): string {
  const log = new HistoryLog(path);
  for (let seq = 1; seq <= SENT; seq++) log.write(seq % 5 === 0 ? EntryType.report : EntryType.telemetry, DEVICE, seq);
  log.write(EntryType.refused, DEVICE, REFUSED);
  log.write(EntryType.acked, DEVICE, ACKED);
  log.close();
  return path;
}

const kindOf = (seq: number): 'telemetry' | 'report' => (seq % 5 === 0 ? 'report' : 'telemetry');
const stored = (last: number): number[] =>
  Array.from({ length: last }, (_, index) => index + 1).filter((seq) => seq !== REFUSED);

async function* rowsOf(seqs: readonly number[], change: (row: Row) => Row = (row) => row): AsyncGenerator<Row[]> {
  await Promise.resolve();
  yield seqs.map((seq) => change({ deviceId: DEVICE, seq, kind: kindOf(seq) }));
}

function batchOf(seqs: readonly number[], payload = (seq: number) => payloadOf(DEVICE, seq, kindOf(seq))): Buffer {
  const builder = new BatchBuilder();
  for (const seq of seqs) {
    const bytes = Buffer.from(payload(seq));
    const kind = kindOf(seq) === 'report' ? Kind.report : Kind.telemetry;
    builder.add(kind, Buffer.from(DEVICE), seq, 1_000, 2_000, bytes, 0, bytes.length);
  }
  return builder.build();
}

void test('a table that holds what was sent breaks no rule, whatever of the unacked is there', async (t) => {
  const path = writeLog(join(testDirectory(t), 'log'));
  for (const last of [ACKED, SENT]) {
    const check = new HistoryCheck(path);
    await check.table(rowsOf(stored(last).reverse()));
    check.queue('router', [batchOf(stored(last))], RULES);
    t.same(check.findings.lines, []);
  }
});

void test('whatever row is missing, twice, or not as it was sent, is found by its rule alone', async (t) => {
  const path = writeLog(join(testDirectory(t), 'log'));
  const seqs = stored(SENT);
  const find = async (rows: AsyncGenerator<Row[]>): Promise<string[]> => {
    const check = new HistoryCheck(path);
    await check.table(rows);
    return check.findings.broken;
  };
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...seqs), async (seq) => {
      const without = await find(rowsOf(seqs.filter((each) => each !== seq)));
      t.same(without, seq <= ACKED ? ['lost'] : []);
      t.same(await find(rowsOf([...seqs, seq])), ['doubled']);
      const other = (row: Row): Row => (row.seq === seq ? { ...row, kind: undefined } : row);
      t.same(await find(rowsOf(seqs, other)), ['unsent']);
    }),
    { numRuns: 30 },
  );
  for (const seq of [0, -1, 1.5, SENT + 1, REFUSED]) t.same(await find(rowsOf([...seqs, seq])), ['unsent'], `${seq}`);
  t.same(await find(rowsOf(seqs, (row) => (row.seq === 60 ? { ...row, deviceId: 'press-2' } : row))), ['unsent']);
});

void test('a queue that lacks, doubles, reorders or changes a record is found by its rule', (t) => {
  const path = writeLog(join(testDirectory(t), 'log'));
  const seqs = stored(SENT);
  const find = (batches: Buffer[], rules = RULES): string[] => {
    const check = new HistoryCheck(path);
    check.queue('router', batches, rules);
    return check.findings.broken;
  };
  t.same(find([batchOf(seqs.slice(1))]), ['lost']);
  t.same(find([batchOf(seqs.slice(1))], { holdsAll: false, isOnce: true }), []);
  t.same(find([batchOf(seqs), batchOf([3])]), ['doubled']);
  t.same(find([batchOf(seqs), batchOf([3])], { holdsAll: true, isOnce: false }), [], 'a device may send again');
  t.same(find([batchOf(seqs.slice(10)), batchOf(seqs.slice(0, 10))]), ['disordered']);
  t.same(find([batchOf([...seqs, SENT + 1])]), ['unsent']);
  t.same(find([batchOf(seqs, (seq) => JSON.stringify(dataOf(DEVICE, seq + 1)))]), ['unsent']);
  t.end();
});

void test('positions that go back, and those that are ahead of what they stand on, are found', (t) => {
  const at = (offset: number): { epoch: number; offset: number } => ({ epoch: 1, offset });
  const sample = (offset: number): PositionSample => ({
    edgeReleased: at(offset),
    routerSource: at(offset),
    routerReleased: at(offset),
    cursor: at(offset),
    committed: at(offset),
  });
  const find = (...samples: PositionSample[]): string[] => {
    const findings = new Findings();
    checkSamples(samples, findings);
    return findings.broken;
  };
  t.same(find(sample(1), sample(2), { ...sample(2), committed: undefined }, sample(3)), []);
  for (const name of ['edgeReleased', 'routerReleased'] as const) {
    t.same(find(sample(2), { ...sample(3), [name]: at(1) }), ['position'], name);
  }
  t.same(find(sample(2), { ...sample(3), cursor: at(1) }), ['position', 'cursor'], 'what is released goes ahead of it');
  t.same(find(sample(2), { ...sample(2), edgeReleased: at(3) }), ['released']);
  t.same(find(sample(2), { ...sample(2), cursor: at(3) }), ['cursor']);
  t.same(find(sample(2), { ...sample(2), routerReleased: at(3) }), ['cursor']);
  t.end();
});

void test('a shadow that is not the fold of the reports is found', async (t) => {
  const records = readRecords(writeLog(join(testDirectory(t), 'log')));
  const folded = {
    n: 50,
    ...{ k5: 40, k6: 20, k4: 25, k0: 35, k1: 50 },
    deep: { d0: 0, d1: 0, d2: 0 },
  };
  const find = async (document: unknown): Promise<string[]> => {
    const findings = new Findings();
    await checkShadows(records, () => Promise.resolve(document), findings);
    return findings.broken;
  };
  t.same(await find(folded), []);
  t.same(await find({ ...folded, n: 45 }), ['shadow']);
  t.same(await find({ ...folded, k2: 30 }), ['shadow'], 'a removed field');
  t.same(await find(undefined), ['shadow']);
});

void test('a log that is cut off within an entry, or acks what was not sent, is refused', (t) => {
  const path = writeLog(join(testDirectory(t), 'log'));
  appendFileSync(path, Buffer.alloc(5));
  t.throws(() => readRecords(path), /ends within an entry/);
  const log = new HistoryLog(path);
  log.write(EntryType.acked, DEVICE, 1);
  log.close();
  t.throws(() => readRecords(path), /was acked 1, and has sent 0/);
  t.end();
});

void test('a million records are checked in memory of about a byte a record', async (t) => {
  const path = join(testDirectory(t), 'log');
  generateHistory(path, { devices: 100, records: 1_000_000 });
  const check = new HistoryCheck(path);
  await check.table(generatedRows({ devices: 100, records: 1_000_000, missing: 777_777, twice: 123_456 }));
  t.same(check.findings.lines, ['lost: d77 7778 is not in the table', 'doubled: d56 1235 in the table']);
  const bytes = [...check.records.values()].reduce((sum, records) => sum + records.bytes, 0);
  t.ok(bytes <= 2 * 1_000_000, `${bytes} bytes`);
});
