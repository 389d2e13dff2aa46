import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { PassThrough, Readable } from 'node:stream';
import fc from 'fast-check';
import { test, type Test } from 'tap';
import { inheritedEnvironment } from '../../shared/config.js';
import { packagePath } from '../../shared/paths.js';
import { WsEdge, type WsEdgeOptions } from '../../test/support/ws-edge.js';
import { readLines, type Line } from './lines.js';
import type { Counts } from './progress.js';
import { readRecord } from './record.js';
import { sendLines, type SenderOptions } from './sender.js';

interface Outcome {
  readonly edge: WsEdge;
  readonly counts: Counts;
  readonly said: string;
}

async function send(
  t: Test,
  input: Readable,
  edgeOptions: WsEdgeOptions = {},
  options: Partial<SenderOptions> = {},
): Promise<Outcome> {
  const edge = await WsEdge.start(edgeOptions);
  t.teardown(() => edge.stop());
  const output = new PassThrough();
  let said = '';
  output.on('data', (data: Buffer) => (said += data.toString()));
  const counts = await sendLines({
    device: 'press-1',
    edge: edge.url,
    token: undefined,
    protocol: 'json',
    timeoutMs: undefined,
    input,
    output,
    isTerminal: false,
    ...options,
  });
  return { edge, counts, said };
}

function lines(...texts: string[]): Readable {
  return Readable.from([Buffer.from(texts.join('\n'))], { objectMode: false });
}

void test('every line becomes a record of what it says, in order, and is acked', async (t) => {
  for (const protocol of ['json', 'binary'] as const) {
    const input = lines(
      '{"temperature":80.5}',
      '',
      '{"data":{"n":1},"time":5}',
      '{"report":{"valve":"open"},"time":6}',
      '  {"result":{"id":"c-1"}}  ',
      '{"data":1,"other":2}',
      '{"data":1,"report":2}',
      '{"data":{"data":1}}',
      '{"time":7}',
    );
    const { edge, counts, said } = await send(t, input, {}, { protocol });
    t.same(
      edge.received.map(({ kind, seq, payload }) => [kind, seq, payload]),
      [
        [1, 1, '{"temperature":80.5}'],
        [1, 2, '{"n":1}'],
        [2, 3, '{"valve":"open"}'],
        [3, 4, '{"id":"c-1"}'],
        [1, 5, '{"data":1,"other":2}'],
        [1, 6, '{"data":1,"report":2}'],
        [1, 7, '{"data":1}'],
        [1, 8, '{"time":7}'],
      ],
    );
    t.same(
      edge.received.slice(1, 3).map(({ timeMs }) => timeMs),
      [5, 6],
    );
    t.same(counts, { read: 8, sent: 8, acked: 8, refused: 0, bad: 0 });
    t.match(said, /^read 8, sent 8, acked 8, refused 0, bad lines 0, /);
  }
});

void test('bad and refused lines are told with their number and do not stop the rest', async (t) => {
  const input = lines(
    '{"n":1}',
    'nonsense',
    '[1]',
    '5',
    '{"data":1,"seq":2}',
    '{"data":1,"time":"x"}',
    '{"n":7}',
    '{"n":8}',
  );
  const { edge, counts, said } = await send(t, input, {
    errorFor: (record) => (record.payload === '{"n":7}' ? 'too_large' : undefined),
  });
  t.same(counts, { read: 8, sent: 3, acked: 2, refused: 1, bad: 5 });
  t.same(
    edge.received.map(({ payload }) => payload),
    ['{"n":1}', '{"n":8}'],
  );
  for (const line of [2, 3, 4, 5, 6]) t.match(said, new RegExp(`^line ${line}: `, 'm'));
  t.match(said, /^line 7: refused by the edge, too_large: record 2$/m);
});

void test('a long input through a connection that is cut again and again arrives whole, in bounded memory', async (t) => {
  const total = 60_000;
  let ahead = 0;
  let given = 0;
  function* generate(): Generator<Buffer> {
    for (; given < total; given += 100) {
      ahead = Math.max(ahead, given - edge.received.length);
      yield Buffer.from(Array.from({ length: 100 }, (_, index) => `{"n":${given + index + 1}}\n`).join(''));
      if (given % 10_000 === 9_900) edge.cut();
    }
  }
  const edge = await WsEdge.start();
  t.teardown(() => edge.stop());
  const counts = await sendLines({
    device: 'press-1',
    edge: edge.url,
    token: undefined,
    protocol: 'binary',
    timeoutMs: undefined,
    input: Readable.from(generate()),
    output: new PassThrough().resume(),
    isTerminal: true,
  });
  t.equal(counts.acked, total);
  const seqs = new Set(edge.received.map(({ seq, payload }) => (payload === `{"n":${seq}}` ? seq : -1)));
  t.equal(seqs.size, total);
  t.ok(edge.connections > 3);
  t.ok(ahead <= 25_000, `${ahead} lines were read ahead`);
});

void test('an edge that is away for longer than the timeout ends it, also while nothing is to be read', async (t) => {
  const input = new PassThrough();
  input.write('{"n":1}\n');
  const sent = send(t, input, {}, { edge: 'ws://127.0.0.1:9', timeoutMs: 300 });
  await t.rejects(sent, { code: 'link_closed', message: /1 records are not acked/ });
});

void test('an edge that refuses the device ends it, also while nothing is to be read', async (t) => {
  const sent = send(t, new PassThrough(), { refusalFor: () => ({ status: 403 }) });
  await t.rejects(sent, { code: 'device_refused', message: /403/ });
});

void test('lines come out as they went in, however the stream is cut, and long ones are given up', async (t) => {
  const text = fc.string({ unit: fc.constantFrom('a', 'ü', ' ', '\r', '"'), maxLength: 20 });
  await fc.assert(
    fc.asyncProperty(
      fc.array(text, { minLength: 1 }),
      fc.array(fc.nat(400)),
      fc.boolean(),
      async (texts, cuts, end) => {
        const bytes = Buffer.from(texts.join('\n') + (end ? '\n' : ''));
        const at = [0, ...cuts.filter((cut) => cut < bytes.length).sort((a, b) => a - b), bytes.length];
        const chunks = at.slice(1).map((stop, index) => bytes.subarray(at[index], stop));
        const found: Line[] = [];
        for await (const line of readLines(Readable.from(chunks), 15)) found.push(line);
        const expected = end || texts.at(-1) !== '' ? texts : texts.slice(0, -1);
        t.same(
          found,
          expected.map((line, index) => {
            const whole = Buffer.from(line);
            return { number: index + 1, bytes: whole.length <= 15 ? whole : undefined };
          }),
        );
      },
    ),
    { numRuns: 100 },
  );
});

void test('any line is a record, a problem, or blank', (t) => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json()), (line) => {
      const record = readRecord(Buffer.from(line));
      if (record === undefined) return line.trim() === '';
      return 'problem' in record ? record.problem.length > 0 : record.data !== undefined;
    }),
  );
  t.end();
});

async function run(args: readonly string[], input: string, token?: string): Promise<{ code: number; said: string }> {
  const script = `const { sendCommand } = await import(${JSON.stringify(packagePath('dist', 'services', 'send', 'main.js'))});
    await sendCommand().parseAsync(${JSON.stringify(args)}, { from: 'user' });`;
  const env = { ...inheritedEnvironment(), ...(token === undefined ? {} : { SEND_TOKEN: token }) };
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    env,
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data: Buffer) => (said += data.toString()));
  child.stdin.end(input);
  const [code] = (await once(child, 'close')) as [number];
  return { code, said };
}

void test('the exit code is 0 only where every line was acked', async (t) => {
  const seen: (string | undefined)[] = [];
  const note = (_: string, authorization: string | undefined): undefined => {
    seen.push(authorization);
  };
  const edge = await WsEdge.start({ refusalFor: note });
  t.teardown(() => edge.stop());
  const good = await run(['press-1', '--edge', edge.url, '--token', 'abc'], '{"n":1}\n{"n":2}\n');
  t.equal(good.code, 0, good.said);
  t.match(good.said, /acked 2/);
  const bad = await run(['press-1', '--edge', edge.url, '--protocol', 'binary'], '{"n":1}\nx\n', 'def');
  t.equal(bad.code, 1);
  t.match(bad.said, /line 2: /);
  t.same(seen, ['Bearer abc', 'Bearer def']);
  t.equal((await run(['press-1', '--timeout', 'soon'], '')).code, 1);
  const help = await run(['--help'], '');
  t.equal(help.code, 0);
  t.match(help.said, /Examples:/);
});
