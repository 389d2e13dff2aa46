import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'tap';
import { BINARY_PROTOCOL, binaryRecord } from './support/device-socket.js';
import { checkDurableAcks, type TracedRecord } from './support/durable-acks.js';
import { TestEdge } from './support/edge.js';
import { HttpDevice, type RecordsReply } from './support/http-device.js';
import { dialEdge, MQTT_WAYS } from './support/mqtt-carrier.js';
import { MqttDevice } from './support/mqtt-device.js';
import { UdpDevice } from './support/udp-device.js';
import { until } from './support/processes.js';
import { isTraceWhole, readTrace, straceLauncher, straceMissing, type SystemCall } from './support/strace.js';
import { testDirectory } from './support/directory.js';

const SINGLES = 20;
const BURSTS = 10;
const BURST_RECORDS = 50;
const DEVICES = 3;
/** 2026-01-01. */
const TIME_MS = 1_767_225_600_000;

/** A payload that no other record has, of a length that fills a page now and then. */
function payload(device: number, seq: number): string {
  return JSON.stringify(`record ${seq} of device ${device} ${'.'.repeat((seq * 37) % 400)}`);
}

/** A device of some protocol on an edge under strace. */
interface TracedDevice {
  send(seq: number): void;
  untilAcked(seq: number): Promise<void>;
  close(): Promise<unknown>;
}

/** Records one at a time, in bursts, and of several devices at once. */
async function traceEdge(
  file: string,
  bursts: number,
  connect: (edge: TestEdge, index: number) => Promise<TracedDevice>,
): Promise<SystemCall[]> {
  const edge = await TestEdge.start({}, straceLauncher(file));
  const devices = await Promise.all(Array.from({ length: DEVICES }, (_, index) => connect(edge, index)));
  for (const device of devices) {
    for (let seq = 1; seq <= SINGLES; seq++) {
      device.send(seq);
      await device.untilAcked(seq);
    }
  }
  let last = SINGLES;
  for (let burst = 0; burst < bursts; burst++) {
    for (let count = 0; count < BURST_RECORDS; count++) {
      last++;
      for (const device of devices) device.send(last);
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

/** JSON and binary. */
async function connectWebSocket(edge: TestEdge, index: number): Promise<TracedDevice> {
  const device = await edge.connect(`traced-${index}`, { protocols: index === 0 ? [] : [BINARY_PROTOCOL] });
  return {
    send: (seq) => {
      const data = payload(index, seq);
      device.send(index === 0 ? `{"seq":${seq},"data":${data}}` : binaryRecord({ seq, payload: data }));
    },
    untilAcked: (seq) => device.untilAcked(seq),
    close: () => device.close(),
  };
}

/** Over TCP and over WebSocket. */
async function connectMqtt(edge: TestEdge, index: number): Promise<TracedDevice> {
  const way = MQTT_WAYS[index % MQTT_WAYS.length]!;
  const device = await MqttDevice.open(dialEdge(edge, way), `mqtt-${index}`);
  return {
    send: (seq) =>
      device.publish(`holdfast/mqtt-${index}/telemetry`, `{"seq":${seq},"data":${payload(index, seq)}}`, seq),
    untilAcked: (seq) => device.untilAcked(seq),
    close: () => device.close(),
  };
}

function connectHttp({ port }: TestEdge, index: number): Promise<TracedDevice> {
  // Requests that are sent at once share commits.
  const device = new HttpDevice(port, `http-${index}`, undefined, 4);
  const answers = new Map<number, Promise<RecordsReply>>();
  return Promise.resolve({
    send: (seq) => {
      const body = `{"seq":${seq},"data":${payload(index, seq)}}`;
      answers.set(seq, device.post(body, 'application/json'));
    },
    untilAcked: async () => {
      const replies = await Promise.all(answers.values());
      if (replies.some(({ status }) => status !== 200)) throw new Error(JSON.stringify(replies));
      answers.clear();
    },
    close: () => {
      device.close();
      return Promise.resolve();
    },
  });
}

async function connectUdp(edge: TestEdge, index: number): Promise<TracedDevice> {
  const device = await UdpDevice.open(edge.udpPort, `udp-${index}`);
  return {
    send: (seq) => {
      device.send([{ seq, time: TIME_MS + seq, data: JSON.parse(payload(index, seq)) as unknown }]);
    },
    untilAcked: async () => {
      // Under strace the edge is slow, not its network: nothing is sent again.
      await until(() => device.unacked.size === 0);
    },
    close: () => device.close(),
  };
}

/** The calls with one of them moved to another place in the trace. */
function moved(calls: readonly SystemCall[], call: SystemCall, at: number): SystemCall[] {
  return calls.map((each) => (each === call ? { ...each, entered: at, returned: at } : each));
}

const skip = straceMissing() ?? false;

void test(
  'no ack leaves over WebSocket before the fdatasync and the meta page that cover its record',
  { skip },
  async (t) => {
    const calls = await traceEdge(join(testDirectory(t), 'trace'), BURSTS, connectWebSocket);
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
  },
);

/** LinuxSocket, which strace is for too. */
function isByMessageCalls({ received, acked }: TracedRecord): boolean {
  return received.name === 'recvmmsg' && acked?.name === 'sendmmsg';
}

const WAYS: readonly (readonly [protocol: string, bursts: number, connect: typeof connectWebSocket])[] = [
  ['MQTT', 2, connectMqtt],
  ['HTTP', 2, connectHttp],
  // What an ack of UDP cannot name any more would have to be sent again: no bursts.
  ['UDP', 0, connectUdp],
];

for (const [protocol, bursts, connect] of WAYS) {
  void test(`and no ack over ${protocol}`, { skip }, async (t) => {
    const calls = await traceEdge(join(testDirectory(t), 'trace'), bursts, connect);
    const { acks, records, violations } = checkDurableAcks(calls);
    t.same(violations, []);
    const sent = DEVICES * (SINGLES + bursts * BURST_RECORDS);
    t.equal(records.length, sent, 'every record was seen to come');
    t.equal(records.filter(({ acked }) => acked !== undefined).length, sent, 'and to be acked');
    t.ok(acks >= DEVICES * SINGLES, `${acks} acks`);
    if (protocol === 'UDP') t.ok(records.every(isByMessageCalls), 'by the calls that take many datagrams');
    // Each record's own ack, moved to before its fdatasync.
    const { acked, synced } = records.at(SINGLES / 2)!;
    t.match(checkDurableAcks(moved(calls, acked!, synced!.entered - 0.4)).violations[0], /was written$/);
  });
}
