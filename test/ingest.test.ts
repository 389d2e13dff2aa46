/** What the ingest promises holds over every protocol. */
import { test } from 'tap';
import { INGEST_CLIENTS } from './support/ingest-clients.js';
import { INGEST_CONFORMANCE } from './support/ingest-conformance.js';

for (const client of INGEST_CLIENTS) {
  void test(client.protocol, async (t) => {
    // Side by side: each has an edge of its own, and waits for it most of the time.
    await Promise.all(
      INGEST_CONFORMANCE.filter(({ needsConnections }) => client.hasConnections || !needsConnections).map(
        async ({ promise, run }) => {
          await run(client);
          t.pass(promise);
        },
      ),
    );
  });
}
