/** What the ingest promises holds over MQTT 3.1.1 and 5, each over TCP and over WebSocket. */
import { test } from 'tap';
import { MQTT_INGEST_CLIENTS } from './support/ingest-clients.js';
import { testIngest } from './support/ingest-conformance.js';

for (const client of MQTT_INGEST_CLIENTS) void test(client.protocol, (t) => testIngest(t, client));
