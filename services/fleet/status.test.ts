import { test } from 'tap';
import { noCounters } from './counters.js';
import { Histogram } from './histogram.js';
import { describeResult, describeStatus, type FleetResult } from './status.js';

void test('a status line says how the fleet is', (t) => {
  const latencies = new Histogram();
  latencies.add(4, 98);
  latencies.add(250, 2);
  const now = {
    elapsedSeconds: 12.4,
    devices: 200,
    counters: { ...noCounters(), up: 150, buffered: 7, reconnects: 3 },
    sentPerSecond: 199,
    ackedPerSecond: 198,
    latencies,
    isOnline: true,
  };
  t.equal(
    describeStatus(now),
    '12 s  up 150/200  sent 199/s  acked 198/s  buffered 7  ack p50 4.1 ms p99 253 ms  reconnects 3',
  );
  const quiet = describeStatus({ ...now, latencies: new Histogram(), isOnline: false });
  t.match(quiet, 'up 150/200 (offline)');
  t.match(quiet, 'ack p50 – p99 –');
  t.end();
});

void test('a table says what became of the records, and what is wrong with them', (t) => {
  const result: FleetResult = {
    run: 'abcd',
    edge: 'ws://127.0.0.1:7300',
    devices: 2,
    processes: 1,
    seconds: 10,
    counters: { ...noCounters(), made: 20, sent: 22, resent: 3, acked: 18, buffered: 1, refused: 1 },
    ackP50Ms: 1.5,
    ackP99Ms: undefined,
    ackMaxMs: 20,
    verification: {
      acked: 18,
      rows: 18,
      lost: 1,
      twice: 1,
      examples: ['fleet-abcd-1: 1 lost, 1 twice'],
      waitedMs: 1_500,
    },
  };
  const table = describeResult(result);
  t.match(table, 'sent        22 (3 of them again)');
  t.match(table, 'not acked   1 kept, 0 given up, 1 refused');
  t.match(table, 'verified    BAD: of 18 acked, 1 lost, 1 twice (18 rows, after 1.5 s)');
  t.match(table, '            fleet-abcd-1: 1 lost, 1 twice');
  t.notMatch(describeResult({ ...result, verification: undefined }), 'verified');
  t.end();
});
