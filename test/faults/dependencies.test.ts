/** A database that fails in the middle, and clocks that are wrong; Redis has its tests in test/shadow.test.ts. */
import { test } from 'tap';
import { deviceClocks, jumpingClocks } from './clocks.js';
import { cutCommits, meetDatabaseFault } from './dependencies.js';

void test('connections cut before and after COMMIT lose and double nothing', async (t) => {
  t.same((await cutCommits(4)).lines, []);
});

void test('a locked table holds storage up, and nothing else', async (t) => {
  t.same((await meetDatabaseFault('the table locked', 1_000)).lines, []);
});

void test('clocks that jump an hour, with queues opened before and after, lose and double nothing', async (t) => {
  t.same((await jumpingClocks(1_000)).lines, []);
});

void test('records of 1970 and 2100 are stored once', async (t) => {
  t.same((await deviceClocks()).lines, []);
});
