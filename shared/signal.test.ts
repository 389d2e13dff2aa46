import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'tap';
import { Signal } from './signal.js';

const LONG_MS = 600_000;

void test('a fire ends the wait', async (t) => {
  const signal = new Signal();
  const waiting = signal.wait(LONG_MS);
  signal.fire();
  await waiting;
  t.pass();
});

void test('a fire while nobody waits ends the next wait, and only that', async (t) => {
  const signal = new Signal();
  signal.fire();
  signal.fire();
  await signal.wait(LONG_MS);
  let isOver = false;
  const second = signal.wait(LONG_MS).then(() => (isOver = true));
  await sleep(5);
  t.notOk(isOver);
  signal.fire();
  await second;
  t.ok(isOver);
});

void test('a wait ends by itself', async (t) => {
  const signal = new Signal();
  await signal.wait(1);
  const waiting = signal.wait(LONG_MS);
  signal.fire();
  await waiting;
  t.pass();
});

void test('no fire is lost between a producer and a consumer', async (t) => {
  const signal = new Signal();
  let produced = 0;
  let consumed = 0;
  const produce = async (): Promise<void> => {
    while (produced < 2_000) {
      produced++;
      signal.fire();
      if (produced % 3 === 0) await new Promise(setImmediate);
    }
  };
  const consume = async (): Promise<void> => {
    while (consumed < 2_000) {
      if (consumed === produced) await signal.wait(LONG_MS);
      consumed = produced;
    }
  };
  await Promise.all([produce(), consume()]);
  t.equal(consumed, 2_000);
});
