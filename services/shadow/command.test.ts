import fc from 'fast-check';
import { test } from 'tap';
import { v7 as uuid } from 'uuid';
import { HoldfastError } from '../../shared/errors.js';
import { RESULT_STATES } from './command.js';
import {
  commandPayload,
  commandWrite,
  decodeCommand,
  dueMs,
  encodeCommand,
  finishedCommand,
  isCommandId,
  isOpen,
  newCommand,
  sentCommand,
} from './command.js';
import { checkRequest, MAX_COMMAND_BYTES } from './command-request.js';
import { readResult } from './results.js';

const REQUEST = { name: 'reboot', data: { delay: 5 }, ttlMs: 60_000 };
const ID = uuid();

const arbitrary = fc
  .record({
    data: fc.jsonValue(),
    name: fc.string({ minLength: 1, maxLength: 20 }),
    ttlMs: fc.integer({ min: 1, max: 1e9 }),
    sends: fc.nat(3),
    end: fc.option(fc.constantFrom(...RESULT_STATES, 'TIMED_OUT' as const, 'CANCELED' as const), { nil: undefined }),
    result: fc.option(fc.jsonValue(), { nil: undefined }),
  })
  .map(({ data, name, ttlMs, sends, end, result }) => {
    let command = newCommand(ID, 'press-1', { name, data, ttlMs }, 1_000);
    for (let send = 0; send < sends; send++) command = sentCommand(command, 2_000 + send);
    return end === undefined ? command : finishedCommand(command, end, 5_000, result);
  });

void test('a command comes back from its value as it was', (t) => {
  fc.assert(
    fc.property(arbitrary, (command) => {
      // As JSON has it: -0 is 0 there.
      t.strictSame(decodeCommand(encodeCommand(command)), JSON.parse(JSON.stringify(command)));
    }),
    { numRuns: 300 },
  );
  t.end();
});

void test('a value that is damaged is an error of the store, or still a command, and never something else', (t) => {
  const damage = fc.tuple(arbitrary, fc.nat(400), fc.nat(255), fc.boolean());
  fc.assert(
    fc.property(damage, ([command, at, byte, cut]) => {
      const value = encodeCommand(command);
      if (cut) return isCommandOrError(value.subarray(0, at % value.length));
      value[at % value.length] = byte;
      return isCommandOrError(value);
    }),
    { numRuns: 2_000 },
  );
  for (const text of ['', '\x01', '\x01null', '\x01[]', '\x01{}', '\x02{}', '\x01{"id":1}']) {
    t.throws(() => decodeCommand(Buffer.from(text)), { code: 'store', retry: false }, JSON.stringify(text));
  }
  t.end();
});

function isCommandOrError(value: Buffer): boolean {
  try {
    const command = decodeCommand(value);
    return isOpen(command) === (command.finishedAt === undefined);
  } catch (error) {
    if (error instanceof HoldfastError && error.code === 'store') return true;
    throw error;
  }
}

void test('a state that is final needs its time, and no other has one', (t) => {
  const command = newCommand(ID, 'press-1', REQUEST, 1_000);
  for (const broken of [
    { ...command, finishedAt: 5 },
    { ...command, state: 'SUCCEEDED' },
    { ...command, state: 'DONE' },
    { ...command, sends: '1' },
  ]) {
    t.throws(() => decodeCommand(encodeCommand(broken as typeof command)), { code: 'store' });
  }
  t.end();
});

void test('the first time that a command is sent is kept, and every time is counted', (t) => {
  const sent = sentCommand(sentCommand(newCommand(ID, 'press-1', REQUEST, 1_000), 2_000), 3_000);
  t.match(sent, { state: 'SENT', queuedAt: 1_000, sentAt: 2_000, sends: 2, expiresAt: 61_000 });
  const late = sentCommand(finishedCommand(newCommand(ID, 'press-1', REQUEST, 1_000), 'CANCELED', 1_500), 1_400);
  t.match(late, { state: 'CANCELED', finishedAt: 1_500, sentAt: 1_400, sends: 1 });
  t.end();
});

void test('a command ends once, and not before it was queued', (t) => {
  const command = newCommand(ID, 'press-1', REQUEST, 1_000);
  const finished = finishedCommand(command, 'FAILED', 5, { why: 'jammed' });
  t.match(finished, { state: 'FAILED', finishedAt: 1_000, result: { why: 'jammed' } });
  t.notOk('result' in finishedCommand(command, 'TIMED_OUT', 2_000));
  t.throws(() => finishedCommand(finished, 'SUCCEEDED', 6), /is FAILED already/);
  t.end();
});

void test('a command is due at its end of time while it is open, and after the retention once it is over', (t) => {
  const command = newCommand(ID, 'press-1', REQUEST, 1_000);
  t.equal(dueMs(command, 500), 61_000);
  t.equal(commandWrite(finishedCommand(command, 'SUCCEEDED', 2_000), 500).dueMs, 2_500);
  t.end();
});

void test('the device gets the id, the name, the data and the end of time', (t) => {
  const payload = commandPayload(newCommand(ID, 'press-1', REQUEST, 1_000));
  t.strictSame(JSON.parse(payload), { id: ID, name: 'reboot', data: { delay: 5 }, expires: 61_000 });
  t.end();
});

void test('only a UUID of version 7 is the id of a command', (t) => {
  t.ok(isCommandId(ID));
  for (const id of ['', 'c-1', ID.toUpperCase(), `${ID}\n`, ID.slice(1), '00000000-0000-4000-8000-000000000000']) {
    t.notOk(isCommandId(id), JSON.stringify(id));
  }
  t.end();
});

void test('a result has the id of a command and a status; anything else is none', (t) => {
  t.strictSame(readResult({ id: ID, status: 'X', more: 1 }), { id: ID, status: 'X', data: undefined });
  t.strictSame(readResult({ id: ID, status: 'FAILED', data: null }), { id: ID, status: 'FAILED', data: null });
  for (const payload of [
    undefined,
    null,
    1,
    'x',
    [],
    {},
    { id: ID },
    { id: 1, status: 'X' },
    { id: 'c-1', status: 'X' },
  ]) {
    t.equal(readResult(payload), undefined, JSON.stringify(payload));
  }
  fc.assert(fc.property(fc.jsonValue(), (payload) => readResult(payload) === undefined));
  t.end();
});

void test('a request out of its bounds is refused, and says what is wrong', (t) => {
  let deep: unknown = 1;
  for (let level = 0; level < 16; level++) deep = [deep];
  t.equal(checkRequest({ ...REQUEST, data: deep }), 33);
  t.equal(checkRequest({ ...REQUEST, data: 'x'.repeat(MAX_COMMAND_BYTES - 2) }), MAX_COMMAND_BYTES);
  for (const [request, status, message] of [
    [{ name: '' }, 400, /"name" has 0 characters/],
    [{ name: 'x'.repeat(129) }, 400, /"name" has 129/],
    [{ ttlMs: 0 }, 400, /live for 0 ms/],
    [{ ttlMs: 1.5 }, 400, /live for 1.5 ms/],
    [{ ttlMs: Number.NaN }, 400, /live for NaN ms/],
    [{ data: undefined }, 400, /no JSON value/],
    [{ data: [deep] }, 400, /more than 16 levels/],
    [{ data: 'x'.repeat(MAX_COMMAND_BYTES - 1) }, 413, /8193 bytes/],
  ] as const) {
    t.throws(() => checkRequest({ ...REQUEST, ...request }), { status, message });
  }
  t.end();
});
