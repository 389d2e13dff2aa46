/**
 * Cut, lossy, slow and silent links, and a client of live that never reads. Slow-loris upgrades and devices that never read
 * their acks have tests beside what they test: services/edge/limits.test.ts.
 */
import { join } from 'node:path';
import { test } from 'tap';
import { longLine, networkMissing, runApart } from './network.js';
import { testDirectory } from '../support/directory.js';

const skip = networkMissing() ?? false;
/** Some of them; the long run has them all, and for longer. */
const FAULTS = ['router → edge cut one way', 'the router has another address', 'a live client that never reads'];
const FOR_MS = 1_500;

for (const fault of FAULTS) {
  void test(`with ${fault}, what was acked arrives once`, { skip }, async (t) => {
    const [outcome] = await runApart([fault], FOR_MS, join(testDirectory(t), 'hosts'));
    t.same(outcome?.lines, []);
  });
}

void test('a long line delays what was acked, and that is all', async (t) => {
  t.same((await longLine(100, FOR_MS)).lines, []);
});
