/** The promise over MQTT: what got a PUBACK is in the table exactly once, and so is what was sent again for want of one. */
import mqtt from 'mqtt';
import t from 'tap';
import { Session } from '../shared/database.js';
import { Pipeline } from './support/pipeline.js';
import { freePort } from './support/ports.js';
import { until } from './support/processes.js';

const RECORDS = 2_000;
const KILLS = 3;
/** 2026-01-01. */
const TIME_MS = 1_767_225_600_000;

await t.test(
  'records of mqtt.js are in the table exactly once through kill -9 of the edge before their PUBACKs',
  async (t) => {
    const port = await freePort();
    const pipeline = await Pipeline.start({ environment: { EDGE_MQTT_LISTEN: `127.0.0.1:${port}` } });
    try {
      const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${port}`, {
        protocolVersion: 4,
        clientId: 'press-1',
        clean: false,
        reconnectPeriod: 50,
      });
      let acked = 0;
      const published = Array.from({ length: RECORDS }, async (_, index) => {
        const record = { seq: index + 1, time: TIME_MS + index, data: { index } };
        await client.publishAsync('holdfast/press-1/telemetry', JSON.stringify(record), { qos: 1 });
        acked++;
      });
      for (let kill = 0; kill < KILLS; kill++) {
        const before = acked;
        await until(() => acked > before || acked === RECORDS);
        await pipeline.services.edge.end('SIGKILL');
        await pipeline.services.edge.start();
      }
      await Promise.all(published);
      const session = await Session.open(pipeline.postgres.url, 'mqtt-crash');
      const count = async (): Promise<number[]> => {
        const text =
          'select count(*)::int as rows, count(distinct seq)::int as seqs, max(seq)::int as last from telemetry';
        const { rows, seqs, last } = (await session.client.query(text)).rows[0] as Record<string, number>;
        return [rows!, seqs!, last!];
      };
      await until(async () => (await count())[1] === RECORDS);
      t.same(await count(), [RECORDS, RECORDS, RECORDS]);
      await session.close();
      await client.endAsync(true);
    } finally {
      await pipeline.stop();
    }
  },
);
