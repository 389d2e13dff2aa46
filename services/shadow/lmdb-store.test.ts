import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, rmSync, statfsSync, statSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'tap';
import { changeOf, countedChange, countedIn, makeCommand, makeThing } from '../../test/support/shadow-changes.js';
import { until } from '../../test/support/processes.js';
import {
  bytesOf,
  descriptorOf,
  isTraceWhole,
  readTrace,
  straceLauncher,
  straceMissing,
  type SystemCall,
} from '../../test/support/strace.js';
import { packagePath } from '../../shared/paths.js';
import { LmdbStore, type LmdbOptions } from './lmdb-store.js';
import { testDirectory } from '../../test/support/directory.js';

const WRITER = packagePath('dist', 'test', 'support', 'store-writer.js');
const MAP_BYTES = 2 ** 30;

function storeIn(path: string, options: Partial<LmdbOptions> = {}): LmdbStore {
  return new LmdbStore({ path, mapBytes: MAP_BYTES, diskFloorBytes: 0, ...options });
}

/** A store-writer and what it has printed. */
class Writer {
  readonly lines: string[] = [];
  errors = '';
  readonly ended: Promise<unknown>;
  readonly child: ChildProcess;

  constructor(path: string, launcher: readonly string[] = []) {
    const [command, ...rest] = [...launcher, process.execPath, WRITER, path];
    const child = spawn(command, rest, { stdio: ['ignore', 'pipe', 'pipe'] });
    child.stderr.on('data', (chunk: Buffer) => (this.errors += chunk.toString()));
    createInterface({ input: child.stdout }).on('line', (line) => this.lines.push(line));
    this.child = child;
    this.ended = once(child, 'close');
  }

  get written(): number {
    return Number(this.lines.slice(1).at(-1) ?? 0);
  }

  async untilLines(count: number): Promise<void> {
    while (this.lines.length < count && this.child.exitCode === null) await sleep(1);
  }

  /** Ends it where it has not ended by itself. */
  async kill(): Promise<void> {
    this.child.kill('SIGKILL');
    await this.ended;
  }
}

/** True where the command ends with 0: it is there and may do what it does. */
async function isPossible(command: string, words: readonly string[]): Promise<boolean> {
  const child = spawn(command, words, { stdio: 'ignore' });
  return Promise.race([once(child, 'exit').then(([code]) => code === 0), once(child, 'error').then(() => false)]);
}

void test('a change is there as a whole or not at all, whenever its writer is killed with -9', async (t) => {
  const path = testDirectory(t);
  let written = 0;
  for (let kill = 0; kill < 10; kill++) {
    const writer = new Writer(path);
    // The first lines, the middle of a commit, and while it opens.
    await writer.untilLines(Math.floor(Math.random() * 25));
    await sleep(Math.random() * 8);
    await writer.kill();
    t.equal(writer.errors, '');
    written = Math.max(written, writer.written);
    const store = storeIn(path);
    await store.open();
    const held = await countedIn(store);
    t.ok(held >= written, `${held} changes are there, ${written} were confirmed`);
    await store.close();
  }
  t.ok(written > 20, `${written} changes were confirmed`);
});

void test('a change is on disk before it is confirmed', { skip: straceMissing() ?? false }, async (t) => {
  const directory = testDirectory(t);
  mkdirSync(join(directory, 'store'));
  const file = join(directory, 'trace');
  const writer = new Writer(join(directory, 'store'), straceLauncher(file));
  await writer.untilLines(21);
  await writer.kill();
  await until(() => isTraceWhole(file, writer.child.pid!));
  const calls = readTrace(file);
  const opened = calls.filter((call) => call.name === 'openat' && bytesOf(call).toString().endsWith('/data.mdb'));
  const metas = opened.filter(({ args }) => /O_D?SYNC/.test(args)).map(({ result }) => result);
  const datas = opened.map(({ result }) => result).filter((descriptor) => !metas.includes(descriptor));
  const lines = calls.filter((call) => call.name === 'write' && descriptorOf(call) === 1);
  const isBetween = (call: SystemCall, first: SystemCall, last: SystemCall): boolean =>
    call.result >= 0 && call.entered > first.returned && call.returned < last.entered;
  for (let n = 1; n <= 20; n++) {
    const [before, confirmed] = lines.slice(n - 1, n + 1) as [SystemCall, SystemCall];
    t.equal(bytesOf(confirmed).toString(), `${n}\n`);
    const during = calls.filter((call) => isBetween(call, before, confirmed));
    const synced = during.find((call) => /^f(data)?sync$/.test(call.name) && datas.includes(descriptorOf(call)));
    t.ok(synced, `the pages of ${n} are synced`);
    const isMeta = (call: SystemCall): boolean => /^p?write/.test(call.name) && metas.includes(descriptorOf(call));
    t.ok(
      during.find((call) => isMeta(call) && call.entered > synced!.returned),
      `${n} is committed after that`,
    );
  }
});

void test('a second process cannot open a store that is open, and can when that was killed', async (t) => {
  const path = testDirectory(t);
  const writer = new Writer(path);
  await writer.untilLines(3);
  const store = storeIn(path);
  const locked = { code: 'store', retry: true, message: /is at work in another process; a store has one writer/ };
  await t.rejects(store.open(), locked);
  t.equal(store.ready, false);
  await writer.untilLines(writer.lines.length + 2);
  t.equal(writer.child.exitCode, null, 'the first one goes on');
  await writer.kill();
  await store.open();
  await t.rejects(storeIn(path).open(), locked, 'not twice in one process either');
  await store.open();
  t.ok((await countedIn(store)) >= writer.written);
  await store.close();
  await store.open();
  t.ok((await countedIn(store)) >= writer.written, 'it can be opened again after it was closed');
  await store.close();
});

// unshare gives the other writer a network namespace of its own, as a container has, and so other abstract sockets.
const APART = ['unshare', '--net', '--map-root-user'] as const;
const noNamespace = (await isPossible(APART[0], [...APART.slice(1), 'true'])) ? false : 'no namespace can be made here';

void test('where the lock does not reach, whoever opened last stops the other', { skip: noNamespace }, async (t) => {
  const path = testDirectory(t);
  const first = storeIn(path);
  await first.open();
  await first.write(countedChange(1));
  const second = new Writer(path, APART);
  t.teardown(() => second.kill());
  await second.untilLines(5);
  const fenced = { code: 'fenced', retry: false, message: /another process has opened the store since|starts from/ };
  await t.rejects(first.write(changeOf([makeThing('counted-0', 'bad')])), fenced);
  t.equal(first.ready, false);
  await t.rejects(first.write(changeOf([])), { code: 'fenced' });
  await first.close();
  await second.untilLines(second.lines.length + 3);
  t.equal(second.child.exitCode, null, 'the second goes on');

  const third = storeIn(path);
  t.teardown(() => third.close());
  await third.open();
  const { written } = second;
  await until(() => second.child.exitCode !== null || second.written > written + 5);
  t.match(second.errors, /^fenced false: /, 'and is stopped by a third');
  t.ok((await countedIn(third)) >= second.written, 'nothing was mixed');
});

void test('under the floor of the disk nothing is written, and it goes on when there is space', async (t) => {
  const path = testDirectory(t);
  const { bavail, bsize } = statfsSync(path);
  const low = storeIn(path, { diskFloorBytes: 2 * bavail * bsize });
  await low.open();
  const change = changeOf([makeThing('a', 'a')]);
  const refused = { code: 'store', retry: true, message: /is down to its floor of \d+ free bytes/ };
  await t.rejects(low.write(change), refused);
  t.equal(low.ready, true, 'it can be read');
  t.strictSame(await low.load(['a']), [undefined]);
  await low.close();
  const store = storeIn(path);
  await store.open();
  await store.write(change);
  t.strictSame(await store.load(['a']), [Buffer.from('a')]);
  await store.close();
});

void test('a store that has grown to its most refuses before LMDB does, and goes on with more', async (t) => {
  const path = testDirectory(t);
  const mapBytes = 4 * 2 ** 20;
  const small = storeIn(path, { mapBytes });
  await small.open();
  const write = (store: LmdbStore, n: number): Promise<void> => {
    const things = Array.from({ length: 50 }, (_, index) => makeThing(`press-${n}-${index}`, Buffer.alloc(900, n)));
    return store.write(changeOf(things, [makeCommand(`c-${n}`, 'press', 'x')]));
  };
  let written = 0;
  const fill = async (): Promise<never> => {
    for (;;) await write(small, written).then(() => written++);
  };
  await t.rejects(fill(), { code: 'store', retry: true, message: /has grown to the 4194304 bytes.*SHADOW_MAP/ });
  t.ok(written > 20, `${written} changes went in`);
  t.ok(statSync(join(path, 'data.mdb')).size <= mapBytes);
  await small.close();
  const store = storeIn(path);
  await store.open();
  t.equal((await store.list('', 100_000)).length, written * 50);
  await write(store, written);
  t.equal((await store.list('', 100_000)).length, (written + 1) * 50);
  await store.close();
});

const noLimit = (await isPossible('prlimit', ['--fsize=1000000', 'true'])) ? false : 'there is no prlimit here';

void test('a commit that fails ends its writer, and all that was confirmed is there', { skip: noLimit }, async (t) => {
  const path = testDirectory(t);
  // The size limit of a file makes LMDB's write fail as a full disk would.
  const writer = new Writer(path, ['prlimit', '--fsize=400000']);
  await writer.ended;
  t.equal(writer.child.exitCode, 17, 'nothing crashes before');
  t.match(writer.errors, /commit_failed false: a commit to the store in .* failed: .*; nothing of it was confirmed\n$/);
  const store = storeIn(path);
  await store.open();
  const held = await countedIn(store);
  t.ok(held >= writer.written, `${held} are there, ${writer.written} were confirmed`);
  await store.write(countedChange(held + 1));
  t.equal(await countedIn(store), held + 1, 'and it goes on');
  await store.close();
});

void test('a lost or emptied file is an error and never a new store', async (t) => {
  const path = testDirectory(t);
  const first = storeIn(path);
  await first.open();
  await first.write(countedChange(1));
  await first.close();
  const data = join(path, 'data.mdb');
  truncateSync(data, 0);
  const lost = { code: 'store', retry: false, message: /shadow\.json is there but data\.mdb is missing or empty/ };
  await t.rejects(storeIn(path).open(), lost);
  rmSync(data);
  await t.rejects(storeIn(path).open(), lost);
  t.notOk(existsSync(data));
  rmSync(join(path, 'shadow.json'));
  const anew = storeIn(path);
  await anew.open();
  t.equal(await countedIn(anew), 0, 'moved away as the error says, it starts empty');
  await anew.close();
});

void test('the directory is made where there is none, and holds what is said', async (t) => {
  const path = join(testDirectory(t), 'not', 'there.yet');
  const store = storeIn(path);
  await store.open();
  await store.write(countedChange(1));
  t.equal(await countedIn(store), 1);
  await store.close();
  t.strictSame(readdirSync(path).sort(), ['data.mdb', 'lock.mdb', 'shadow.json']);
  t.equal(store.unsafeMs, 0);
});

void test('the parts of a counted change that differ are found', async (t) => {
  const store = storeIn(testDirectory(t));
  await store.open();
  for (let n = 1; n < 9; n++) await store.write(countedChange(n));
  t.equal(await countedIn(store), 8);
  const whole = countedChange(9);
  await store.write({ ...whole, things: whole.things.slice(1) });
  await t.rejects(countedIn(store), /counted-0 is not as of 9/);
  await store.write({ ...countedChange(10), commands: [] });
  await t.rejects(countedIn(store), /the commands are not as of 10/);
  await store.write({ ...countedChange(11), applied: undefined });
  await t.rejects(countedIn(store), /is not as of 10/);
  await store.close();
});
