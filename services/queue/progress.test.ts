import { PassThrough } from 'node:stream';
import { test } from 'tap';
import { until } from '../../test/support/processes.js';
import { Progress } from './progress.js';

const MIB = 2 ** 20;
/** To the line's beginning, and clears it. */
const CLEAR = '\r\x1b[K';

/** A progress of 4 MiB, and what it has written. */
function makeProgress(isTerminal: boolean): { progress: Progress; text: () => string } {
  const out = new PassThrough();
  let text = '';
  out.on('data', (chunk: Buffer) => (text += chunk.toString()));
  return { progress: new Progress(out, isTerminal, 'verified', 4 * MIB), text: () => text };
}

void test('on a terminal one line tells how much is done, how fast, and what is waited for', async (t) => {
  const { progress, text } = makeProgress(true);
  progress.advance(MIB);
  progress.tell('waits for the router');
  await until(() => text().includes('waits'));
  const line = text().split(CLEAR).at(-1)!;
  t.match(line, /^verified \[######\.{18}\] 25 %, 1\.0 MiB of 4\.0 MiB, \d+\.\d MiB\/s, waits for the router$/);
  t.notMatch(text(), '\n');
  progress.advance(4 * MIB);
  progress.tell('');
  await until(() => text().includes('[########################] 100 %, 5.0 MiB of 4.0 MiB'));
  progress.finish();
  await until(() => text().endsWith(CLEAR));
});

void test('elsewhere nothing is shown', (t) => {
  const { progress, text } = makeProgress(false);
  progress.advance(MIB);
  progress.finish();
  t.equal(text(), '');
  t.end();
});
