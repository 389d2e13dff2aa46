/** A busy service with full receive queues outlives its peers: libzmq ends a process whose heartbeat meets such a queue. */
import { test } from 'tap';
import { killBesideBusy } from './busy.js';

for (const [busy, killed] of [
  ['router', 'edge'],
  ['storage', 'router'],
] as const) {
  void test(`the ${busy} goes on when the ${killed} is killed while it is busy`, async (t) => {
    t.same((await killBesideBusy(busy, killed)).lines, []);
  });
}
