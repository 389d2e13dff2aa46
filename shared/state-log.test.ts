import { pino } from 'pino';
import t from 'tap';
import { CatchUp } from './catch-up.js';
import { LimitedLog } from './limited-log.js';
import { describeError, type Logger } from './log.js';
import type { Position } from './position.js';
import { StateLog } from './state-log.js';
import { until } from '../test/support/processes.js';

interface Line {
  readonly level: number;
  readonly msg: string;
  readonly leftOut?: number;
  readonly count?: number;
}

function makeLog(): { readonly log: Logger; readonly lines: Line[] } {
  const lines: Line[] = [];
  const write = (text: string): void => void lines.push(JSON.parse(text) as Line);
  return { log: pino({}, { write }), lines };
}

void t.test('a state is told once, however often it is entered', (t) => {
  const { log, lines } = makeLog();
  const state = new StateLog(log, 'connected');
  for (const name of ['connected', 'lost', 'lost', 'connected', 'connected']) state.enter(name, 'info', {}, name);
  t.strictSame(
    lines.map(({ msg }) => msg),
    ['lost', 'connected'],
  );
  t.end();
});

void t.test('what comes too often is left out, and its last line is told with how many were', async (t) => {
  const { log, lines } = makeLog();
  const limited = new LimitedLog(log, 50);
  for (let count = 1; count <= 10_000; count++) limited.tell('warn', { count }, 'again');
  const atOnce = lines.length;
  t.ok(atOnce > 0 && atOnce < 20, `${atOnce} lines`);
  await until(() => lines.length > atOnce);
  t.match(lines.at(-1), { msg: 'again', count: 10_000, leftOut: 10_000 - atOnce - 1 });
});

void t.test('a state that flaps does not flood', (t) => {
  const { log, lines } = makeLog();
  const state = new StateLog(log, 'start');
  for (let count = 0; count < 10_000; count++) state.enter(`${count % 2}`, 'warn', {}, 'flaps');
  t.ok(lines.length > 0 && lines.length < 20, `${lines.length} lines`);
  t.end();
});

void t.test('who needs longer than ten seconds is behind until a head is reached in less', (t) => {
  const { log, lines } = makeLog();
  const progress = new CatchUp(log, { behind: 'behind', caughtUp: 'caught up' });
  const at = (offset: number): Position => ({ epoch: 1, offset });
  const told = (): string[] => lines.splice(0).map(({ msg }) => msg);
  progress.note(at(5), at(5), 0);
  t.strictSame(told(), ['caught up']);
  // Never at the head, and never far from it.
  for (let second = 1; second < 100; second++) progress.note(at(10 * second), at(10 * second - 9), 1_000 * second);
  t.strictSame(told(), []);
  for (let second = 100; second < 200; second++) progress.note(at(10 * second), at(1_000), 1_000 * second);
  t.strictSame(told(), ['behind']);
  // It drains, and more comes.
  progress.note(at(2_000), at(1_999), 201_000);
  t.strictSame(told(), [], 'one mark that was set long ago says nothing yet');
  progress.note(at(2_010), at(2_005), 205_000);
  t.strictSame(told(), ['caught up']);
  t.end();
});

void t.test('of an error that carries what it was about, only name, code, message and causes are logged', (t) => {
  const cause = Object.assign(new Error('refused'), { command: { name: 'auth', args: ['a-password'] } });
  const error = Object.assign(new Error('no store', { cause }), { code: 'store', row: 'a-payload' });
  const text = JSON.stringify(describeError(error));
  t.match(text, /"code":"store".*Error: refused/);
  t.notMatch(text, /a-password|a-payload/);
  t.end();
});
