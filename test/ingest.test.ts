/** What the ingest promises holds over every protocol. */
import { test } from 'tap';
import { INGEST_CLIENTS } from './support/ingest-clients.js';
import { INGEST_CONFORMANCE } from './support/ingest-conformance.js';

for (const client of INGEST_CLIENTS) {
  for (const { promise, needsConnections, run } of INGEST_CONFORMANCE) {
    if (needsConnections && !client.hasConnections) continue;
    void test(`${client.protocol}: ${promise}`, async (t) => {
      await run(client);
      t.pass('and it did');
    });
  }
}
