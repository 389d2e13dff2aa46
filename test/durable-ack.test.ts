import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'tap';
import { BINARY_PROTOCOL, binaryRecord } from './support/device-socket.js';
import { checkDurableAcks, type TracedRecord } from './support/durable-acks.js';
import { TestEdge } from './support/edge.js';
import { until } from './support/processes.js';
import { isTraceWhole, readTrace, straceLauncher, straceMissing, type SystemCall } from './support/strace.js';
import { testDirectory } from './support/directory.js';

const SINGLES = 20;
const BURSTS = 10;
const BURST_RECORDS = 50;
const DEVICES = 3;

/** A payload that no other record has, of a length that fills a page now and then. */
function payload(device: number, seq: number): string {
  return JSON.stringify(`record ${seq} of device ${device} ${'.'.repeat((seq * 37) % 400)}`);
}

/** Records one at a time, in bursts, and of several devices at once, binary and JSON, on an edge under strace. */
async function traceEdge(file: string): Promise<SystemCall[]> {
  const edge = await TestEdge.start({}, straceLauncher(file));
  const devices = await Promise.all(
    Array.from({ length: DEVICES }, (_, index) =>
      edge.connect(`traced-${index}`, { protocols: index === 0 ? [] : [BINARY_PROTOCOL] }),
    ),
  );
  const send = (index: number, seq: number): void => {
    const data = payload(index, seq);
    devices[index]!.send(index === 0 ? `{"seq":${seq},"data":${data}}` : binaryRecord({ seq, payload: data }));
  };
  for (const [index, device] of devices.entries()) {
    for (let seq = 1; seq <= SINGLES; seq++) {
      send(index, seq);
      await device.untilAcked(seq);
    }
  }
  let last = SINGLES;
  for (let burst = 0; burst < BURSTS; burst++) {
    for (let count = 0; count < BURST_RECORDS; count++) {
      last++;
      for (const index of devices.keys()) send(index, last);
    }
    // Bursts overlap: the next one is sent while the commits of this one are under way.
    if (burst % 2 === 1) await Promise.all(devices.map((device) => device.untilAcked(last)));
  }
  for (const device of devices) await device.close();
  const { pid } = edge.process;
  await edge.stop();
  await until(() => existsSync(file) && isTraceWhole(file, pid));
  return readTrace(file);
}

/** The calls with one of them moved to another place in the trace. */
function moved(calls: readonly SystemCall[], call: SystemCall, at: number): SystemCall[] {
  return calls.map((each) => (each === call ? { ...each, entered: at, returned: at } : each));
}

const skip = straceMissing() ?? false;

void test('no ack leaves before the fdatasync and the meta page that cover its record', { skip }, async (t) => {
  const calls = await traceEdge(join(testDirectory(t), 'trace'));
  const { acks, records, violations } = checkDurableAcks(calls);
  t.same(violations, []);
  const sent = DEVICES * (SINGLES + BURSTS * BURST_RECORDS);
  t.equal(records.length, sent, 'every record was seen to come');
  t.equal(records.filter(({ acked }) => acked !== undefined).length, sent, 'and to be acked');
  t.ok(acks >= DEVICES * SINGLES && acks < sent, `${acks} acks: the records of bursts shared commits`);

  await t.test('and the check finds what is planted into the same trace', (t) => {
    const [received, written, synced, committed, acked] = ['received', 'written', 'synced', 'committed', 'acked'].map(
      (state) => records.at(SINGLES / 2)![state as keyof TracedRecord] as SystemCall,
    ) as [SystemCall, SystemCall, SystemCall, SystemCall, SystemCall];
    const planted: readonly (readonly [what: string, calls: readonly SystemCall[], says: RegExp])[] = [
      ['an ack before its record was written', moved(calls, acked, received.returned + 0.6), /was received$/],
      ['an ack before the fdatasync', moved(calls, acked, synced.entered - 0.4), /was written$/],
      ['an ack while the fdatasync is under way', moved(calls, acked, synced.returned + 0.2), /was written$/],
      ['an ack before the meta page', moved(calls, acked, committed.entered - 0.4), /was synced$/],
      ['no fdatasync', calls.filter((call) => call !== synced), /was written$/],
      [
        'an fdatasync that fails',
        calls.map((call) => (call === synced ? { ...call, result: -1 } : call)),
        /was written$/,
      ],
      ['no meta page', calls.filter((call) => call !== committed), /was synced$/],
      ['a meta page before the fdatasync', moved(calls, committed, synced.entered - 0.4), /was synced$/],
      ['a record written after the fdatasync', moved(calls, written, synced.returned + 0.6), /was (written|synced)$/],
      ['no record written', calls.filter((call) => call !== written), /was received$/],
      [
        'a meta page that is not written through',
        calls.map((call) => ({ ...call, args: call.args.replace('|O_DSYNC', '') })),
        /was synced$/,
      ],
    ];
    for (const [what, changed, says] of planted) t.match(checkDurableAcks(changed).violations[0], says, what);
    t.end();
  });
});
