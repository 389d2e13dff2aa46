import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { test } from 'tap';
import { packagePath } from './paths.js';
import { stopParts, type Part } from './lifecycle.js';

const SCRIPT = packagePath('dist', 'test', 'support', 'lifecycle-run.js');

class Run {
  readonly lines: string[] = [];
  readonly child: ChildProcess;
  readonly #ended: Promise<unknown>;
  readonly #waiting: { line: string; resolve: () => void }[] = [];

  constructor(...words: string[]) {
    this.child = spawn(process.execPath, [SCRIPT, ...words], { stdio: ['ignore', 'pipe', 'inherit', 'ipc'] });
    const output = createInterface({ input: this.child.stdout! });
    output.on('line', (line) => {
      this.lines.push(line);
      for (const waiter of this.#waiting) if (waiter.line === line) waiter.resolve();
    });
    this.#ended = Promise.all([once(this.child, 'exit'), once(output, 'close')]);
  }

  /** What the parts have said, without the log. */
  get told(): string[] {
    return this.lines.filter((line) => !line.startsWith('{'));
  }

  get log(): string {
    return this.lines.filter((line) => line.startsWith('{')).join('\n');
  }

  async until(line: string): Promise<this> {
    if (!this.lines.includes(line)) await new Promise<void>((resolve) => this.#waiting.push({ line, resolve }));
    return this;
  }

  async end(): Promise<number | null> {
    await this.#ended;
    return this.child.exitCode;
  }
}

const UP = ['starting a', 'started a', 'starting b', 'started b', 'up'];
const DOWN = ['stopping b', 'stopped b', 'stopping a', 'stopped a'];

void test('parts start in order, and stop in the reverse order on SIGTERM or SIGINT, with exit code 0', async (t) => {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    const run = await new Run('a', 'b').until('up');
    run.child.kill(signal);
    t.equal(await run.end(), 0);
    t.strictSame(run.told, [...UP, ...DOWN]);
    t.match(run.log, `"reason":"${signal}"`);
  }
});

void test('a second SIGTERM changes nothing', async (t) => {
  const run = await new Run('a', 'b:0:200').until('up');
  run.child.kill('SIGTERM');
  await run.until('stopping b');
  run.child.kill('SIGTERM');
  run.child.kill('SIGINT');
  t.equal(await run.end(), 0);
  t.strictSame(run.told, [...UP, ...DOWN]);
});

void test('a service ends with the parent that holds its IPC channel', async (t) => {
  const run = await new Run('a', 'b').until('up');
  run.child.disconnect();
  t.equal(await run.end(), 0);
  t.strictSame(run.told, [...UP, ...DOWN]);
});

void test('SIGTERM while it starts stops what has started, and starts no more', async (t) => {
  const run = await new Run('a', 'b:300', 'c').until('starting b');
  run.child.kill('SIGTERM');
  t.equal(await run.end(), 0);
  t.notOk(run.told.includes('starting c'));
  t.ok(run.told.includes('stopped a'));
});

void test('a part that cannot start ends the process with 1; a bad configuration with 78', async (t) => {
  const failed = new Run('a', 'b', '--fail', 'start');
  t.equal(await failed.end(), 1);
  t.match(failed.log, 'could not start b: the port is taken');
  const config = new Run('a', '--fail', 'config');
  t.equal(await config.end(), 78);
  t.match(config.log, '"msg":"the key is wrong"');
});

void test('a part that does not stop within the deadline ends the process with 1 and is named', async (t) => {
  const run = await new Run('a', 'b:0:60000', '--deadline', '100').until('up');
  run.child.kill('SIGTERM');
  t.equal(await run.end(), 1);
  t.match(run.log, 'b did not stop within 100 ms');
});

void test('a part that fails to stop ends the process with 1', async (t) => {
  const run = await new Run('a', 'b', '--fail', 'stop').until('up');
  run.child.kill('SIGTERM');
  t.equal(await run.end(), 1);
  t.match(run.log, 'could not stop cleanly: it is stuck');
});

void test('what nobody caught ends the process with 1, in words', async (t) => {
  for (const how of ['throw', 'reject']) {
    const run = new Run('a', '--fail', how);
    t.equal(await run.end(), 1);
    t.match(run.log, 'nobody caught this');
    t.match(run.log, how === 'throw' ? 'uncaught error' : 'unhandled rejection');
  }
});

void test('parts stop one after the other, each when the one after it has stopped', async (t) => {
  const told: string[] = [];
  const part = (name: string): Part => ({
    name,
    stop: async () => {
      told.push(`${name} stops`);
      await new Promise(setImmediate);
      told.push(`${name} stopped`);
    },
  });
  await stopParts([part('a'), { name: 'none' }, part('b')], 1_000);
  t.strictSame(told, ['b stops', 'b stopped', 'a stops', 'a stopped']);
  const stuck: Part = { name: 'stuck', stop: () => new Promise(() => undefined) };
  await t.rejects(stopParts([part('a'), stuck], 10), { code: 'stop_timeout', message: /^stuck did not stop/ });
  t.equal(told.length, 4, 'what comes before it is left alone');
});
