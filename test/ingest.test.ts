/** What the ingest promises holds over every protocol; mqtt-ingest.test.ts has those of MQTT. */
import { test } from 'tap';
import { INGEST_CLIENTS } from './support/ingest-clients.js';
import { testIngest } from './support/ingest-conformance.js';

for (const client of INGEST_CLIENTS) void test(client.protocol, (t) => testIngest(t, client));
