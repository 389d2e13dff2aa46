import { once } from 'node:events';
import { test, type Test } from 'tap';
import { WsEdge, encodeDown, type ReceivedRecord, type WsEdgeOptions } from '../test/support/ws-edge.js';
import { Device, type DeviceOptions, type DeviceProtocol } from './device.js';
import type { HoldfastError } from './errors.js';
import { testDirectory } from '../test/support/directory.js';

const PROTOCOLS: readonly DeviceProtocol[] = ['json', 'binary'];

async function setUp(
  t: Test,
  edgeOptions: WsEdgeOptions = {},
  options: Partial<DeviceOptions> = {},
): Promise<{ edge: WsEdge; device: Device }> {
  const edge = await WsEdge.start(edgeOptions);
  const device = new Device({ url: edge.url, id: 'press-1', minBackoffMs: 1, maxBackoffMs: 20, ...options });
  t.teardown(async () => {
    await device.close();
    await edge.stop();
  });
  return { edge, device };
}

/** The records without those that came again, which must be the same to the byte. */
function distinct(records: readonly ReceivedRecord[]): ReceivedRecord[] {
  const first = new Map<number, ReceivedRecord>();
  for (const record of records) {
    const before = first.get(record.seq);
    if (before === undefined) first.set(record.seq, record);
    else if (before.timeMs !== record.timeMs || before.payload !== record.payload || before.kind !== record.kind) {
      throw new Error(`seq ${record.seq} came again, but not the same`);
    }
  }
  return [...first.values()];
}

for (const protocol of PROTOCOLS) {
  void test(`${protocol}: records arrive once and in order, with seq, time, kind and data, and are acked`, async (t) => {
    const { edge, device } = await setUp(t, {}, { protocol, token: 'secret' });
    t.equal(device.send({ n: 1 }, { time: 5 }), 1);
    device.send({ n: 2 }, { time: 6, kind: 'report' });
    device.connect();
    device.connect();
    device.send(Buffer.from('{"n":3}'), { time: 7, kind: 'result' });
    await device.flushed();
    t.same(edge.received, [
      { device: 'press-1', kind: 1, seq: 1, timeMs: 5, payload: '{"n":1}' },
      { device: 'press-1', kind: 2, seq: 2, timeMs: 6, payload: '{"n":2}' },
      { device: 'press-1', kind: 3, seq: 3, timeMs: 7, payload: '{"n":3}' },
    ]);
    t.equal(edge.connections, 1);
    t.same([device.acked, device.unacked, device.lastSeq], [3, 0, 3]);
    await device.flushed();
  });

  void test(`${protocol}: nothing is lost and the order holds while connections are cut and acks get lost`, async (t) => {
    let messages = 0;
    const { edge, device } = await setUp(
      t,
      {
        // Some acks never come; now and then the connection is cut with records and acks under way.
        ackFor: () => {
          messages++;
          if (messages % 7 === 0) setImmediate(() => edge.cut());
          return messages % 3 !== 0;
        },
        windowBytes: 4000,
      },
      { protocol, maxMessageBytes: 500 },
    );
    device.connect();
    const total = 2000;
    for (let n = 1; n <= total; n++) {
      device.send({ n, text: 'z'.repeat(n % 90) });
      if (n % 50 === 0) await new Promise(setImmediate);
    }
    // The last ack may be one of those that get lost: something has to be sent after it.
    const nudge = setInterval(() => device.send({ nudge: true }), 5);
    while (device.acked < total) await once(device, 'ack');
    clearInterval(nudge);
    t.ok(edge.connections > 5, `${edge.connections} connections`);
    const records = distinct(edge.received).filter((record) => record.seq <= total);
    t.same(
      records.map((record) => record.seq),
      Array.from({ length: total }, (_, index) => index + 1),
    );
    t.ok(edge.received.length > records.length, 'some came again');
  });

  void test(`${protocol}: a refused record is told, dropped and never sent again; its neighbours arrive`, async (t) => {
    const { edge, device } = await setUp(
      t,
      { errorFor: (record) => (record.seq % 3 === 0 ? 'bad_record' : undefined) },
      { protocol, maxMessageBytes: 100 },
    );
    const refused: number[] = [];
    device.on('refused', (seq, code, message) => {
      t.same([code, message], ['bad_record', `record ${seq}`]);
      refused.push(seq);
    });
    device.connect();
    for (let n = 1; n <= 9; n++) device.send({ n });
    await device.flushed();
    t.same(refused, [3, 6, 9]);
    t.same(
      edge.received.map((record) => record.seq),
      [1, 2, 4, 5, 7, 8],
    );
    edge.cut();
    await once(device, 'open');
    device.send({ n: 10 });
    await device.flushed();
    t.equal(edge.received.at(-1)?.seq, 10);
    t.equal(edge.received.length, 7);
  });

  void test(`${protocol}: no more than the window is under way`, async (t) => {
    const windowBytes = 2000;
    let underWay = 0;
    let most = 0;
    const { edge, device } = await setUp(
      t,
      {
        windowBytes,
        ackFor: () => false,
        onConnection: (socket) => {
          // Acks come one by one, each after a turn of the event loop.
          const acked = { seq: 0 };
          const pump = setInterval(() => {
            const next = edge.received[acked.seq];
            underWay = edge.received
              .slice(acked.seq)
              .reduce((sum, record) => sum + record.payload.length + 32 + record.device.length, 0);
            most = Math.max(most, underWay);
            if (next === undefined) return;
            acked.seq = next.seq;
            socket.send(protocol === 'binary' ? encodeDown(1, next.seq) : JSON.stringify({ ack: next.seq }));
          }, 1);
          socket.on('close', () => clearInterval(pump));
        },
      },
      { protocol, maxMessageBytes: 700 },
    );
    device.connect();
    for (let n = 1; n <= 100; n++) device.send({ n, text: 'x'.repeat(100) });
    await device.flushed();
    t.equal(edge.received.length, 100);
    t.ok(most > windowBytes / 3 && most <= windowBytes, `${most} bytes under way`);
  });

  void test(`${protocol}: an edge that refuses whole messages gets the records one by one, and none is passed over`, async (t) => {
    const { edge, device } = await setUp(t, { maxMessageBytes: 300 }, { protocol });
    const refused: number[] = [];
    device.on('refused', (seq, code) => refused.push(code === 'too_large' ? seq : -1));
    // Ten in one message, which is refused, and more on its heels, which are taken and acked.
    for (let n = 1; n <= 10; n++) device.send({ n, text: 'x'.repeat(n === 4 ? 500 : 50) });
    device.connect();
    await once(device, 'open');
    for (let n = 11; n <= 13; n++) device.send({ n });
    await device.flushed();
    t.same(refused, [4]);
    const seqs = distinct(edge.received).map(({ seq }) => seq);
    t.same(new Set(seqs), new Set([1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13]));
    t.equal(edge.connections, 2);
  });

  void test(`${protocol}: a record larger than the window goes when nothing else is under way`, async (t) => {
    const { edge, device } = await setUp(t, { windowBytes: 100 }, { protocol });
    device.connect();
    for (let n = 1; n <= 5; n++) device.send('x'.repeat(500));
    await device.flushed();
    t.equal(edge.received.length, 5);
    t.equal(edge.messageBytes.length, 5);
  });
}

void test('a backlog travels in messages of the size that is set, and 1 gives each record its own', async (t) => {
  const whole = await setUp(t, {}, { protocol: 'binary', maxMessageBytes: 10_000 });
  for (let n = 1; n <= 1000; n++) whole.device.send({ n });
  whole.device.connect();
  await whole.device.flushed();
  t.ok(whole.edge.messageBytes.length < 20, `${whole.edge.messageBytes.length} messages`);
  t.ok(Math.max(...whole.edge.messageBytes) <= 10_000);

  const single = await setUp(t, {}, { protocol: 'binary', maxMessageBytes: 1 });
  for (let n = 1; n <= 100; n++) single.device.send({ n });
  single.device.connect();
  await single.device.flushed();
  t.equal(single.edge.messageBytes.length, 100);
});

void test('an edge that asks for a pause by 1013 gets it', async (t) => {
  const { edge, device } = await setUp(t);
  device.connect();
  await once(device, 'open');
  edge.closeAll(1013, 'retry-after:60000');
  const [code, reason, retryInMs] = (await once(device, 'close')) as [number, string, number];
  t.same([code, reason], [1013, 'retry-after:60000']);
  t.ok(retryInMs >= 60_000 && retryInMs <= 60_020, `${retryInMs} ms`);
});

void test('a pause asked for by 1013 ends with everything sent again', async (t) => {
  let closed = 0;
  const { edge, device } = await setUp(t, {
    ackFor: () => {
      if (++closed > 3) return true;
      edge.closeAll(1013, 'retry-after:5');
      return false;
    },
  });
  device.connect();
  device.send({ n: 1 });
  await device.flushed();
  t.equal(edge.connections, 4);
  t.equal(distinct(edge.received).length, 1);
});

for (const status of [429, 503]) {
  void test(`Retry-After of a ${status} is honoured, and the device comes back by itself`, async (t) => {
    let refuse = true;
    const { edge, device } = await setUp(t, {
      refusalFor: () => (refuse ? { status, headers: { 'retry-after': '0' } } : undefined),
    });
    device.connect();
    const [code, reason, retryInMs] = (await once(device, 'close')) as [number, string, number];
    t.equal(code, 1006);
    t.match(reason, String(status));
    t.ok(retryInMs <= 20);
    refuse = false;
    device.send({ n: 1 });
    await device.flushed();
    t.equal(edge.received.length, 1);

    const long = await setUp(t, { refusalFor: () => ({ status, headers: { 'retry-after': '120' } }) });
    long.device.connect();
    const [, , waitMs] = (await once(long.device, 'close')) as [number, string, number];
    t.ok(waitMs >= 120_000);
  });
}

for (const status of [400, 401, 403, 404]) {
  void test(`${status} is reported as device_refused and the edge is left alone for minutes`, async (t) => {
    const { edge, device } = await setUp(t, { refusalFor: () => ({ status }) });
    device.connect();
    const closed = once(device, 'close');
    const [error] = (await once(device, 'error')) as [HoldfastError];
    t.equal(error.code, 'device_refused');
    t.match(error.message, String(status));
    const [, , retryInMs] = (await closed) as [number, string, number];
    t.ok(retryInMs >= 150_000, `${retryInMs} ms`);
    t.equal(edge.refusals, 1);
  });
}

void test('the token is sent as a bearer credential', async (t) => {
  const seen: (string | undefined)[] = [];
  const note = (device: string, authorization: string | undefined): undefined => {
    seen.push(device, authorization);
  };
  const { device } = await setUp(t, { refusalFor: note }, { token: 'abc' });
  device.connect();
  await once(device, 'open');
  t.same(seen, ['press-1', 'Bearer abc']);
});

void test('a device whose session another one took over stays away until it is told to connect', async (t) => {
  const { edge, device } = await setUp(t, { ackFor: () => edge.connections > 1 });
  device.connect();
  await once(device, 'open');
  device.send({ n: 1 });
  const flushed = device.flushed();
  const failed = once(device, 'error') as Promise<[HoldfastError]>;
  const closed = once(device, 'close');
  edge.closeAll(4409, 'another session took over');
  await t.rejects(flushed, { code: 'device_closed' });
  t.same((await closed)[2], undefined);
  t.equal((await failed)[0].code, 'device_closed');
  t.equal(edge.connections, 1);
  device.connect();
  await device.flushed();
  t.equal(edge.connections, 2);
});

void test('deltas, commands and complaints are passed on, JSON and binary', async (t) => {
  for (const protocol of PROTOCOLS) {
    const command = { id: 'c-1', name: 'reboot', data: { now: true }, expires: 5 };
    const { device } = await setUp(
      t,
      {
        onConnection: (socket) => {
          if (protocol === 'binary') {
            socket.send(encodeDown(3, 7, { valve: 'closed' }));
            socket.send(encodeDown(4, 0, command));
            socket.send(encodeDown(2, 0, { code: 'bad_json', message: 'here' }));
          } else {
            socket.send('{"delta":{"valve":"closed"},"version":7}');
            socket.send(JSON.stringify({ command }));
            socket.send('{"error":{"code":"bad_json","message":"here"}}');
          }
        },
      },
      { protocol },
    );
    const events = [once(device, 'delta'), once(device, 'command'), once(device, 'complaint')];
    device.connect();
    t.same(await Promise.all(events), [[{ valve: 'closed' }, 7], [command], ['bad_json', 'here']]);
  }
});

void test('an edge that talks nonsense, or acks what was never sent, does no harm', async (t) => {
  const nonsense = ['{"ack":999999}', 'nonsense', '{"ack":-1}', '{"error":{"code":"x","message":"y","seq":77}}'];
  const { edge, device } = await setUp(t, {
    onConnection: (socket) => {
      const text = nonsense.shift();
      if (text !== undefined) socket.send(text);
    },
  });
  device.connect();
  await once(device, 'open');
  for (let round = 0; round < 4; round++) {
    const opened = once(device, 'open');
    edge.cut();
    await opened;
  }
  t.equal(device.acked, 0);
  device.send({ n: 1 });
  await device.flushed();
  t.equal(edge.received.length, 1);
});

void test('an ack of more than was sent acks no more than that', async (t) => {
  const { edge, device } = await setUp(t, {
    windowBytes: 100,
    onConnection: (socket) => socket.send('{"ack":999999}'),
  });
  for (let n = 1; n <= 3; n++) device.send('x'.repeat(500));
  device.connect();
  await device.flushed();
  t.same(
    edge.received.map(({ seq }) => seq),
    [1, 2, 3],
  );
});

void test('a full buffer is an error at send, and acks make room', async (t) => {
  const { device } = await setUp(t, {}, { buffer: { maxRecords: 10 } });
  for (let n = 1; n <= 10; n++) device.send({ n });
  t.throws(() => device.send({ n: 11 }), { code: 'buffer_full', retry: true });
  device.connect();
  await device.flushed();
  t.equal(device.send({ n: 11 }), 11);
  await device.flushed();
});

void test('what cannot be a record is refused at send and takes no seq', async (t) => {
  const { device } = await setUp(t);
  const circular: { self?: unknown } = {};
  circular.self = circular;
  const bad: unknown[] = [undefined, () => 1, 10n, circular, Buffer.from('{"a":'), Buffer.from([0x22, 0xff, 0x22])];
  for (const data of bad) t.throws(() => device.send(data), { code: 'bad_record' });
  t.throws(() => device.send('x'.repeat(300_000)), { code: 'bad_record' });
  for (const time of [0, -1, 1.5, NaN, Infinity]) t.throws(() => device.send({}, { time }), { code: 'bad_record' });
  t.equal(device.send({}), 1);
});

void test('options that cannot work are refused at once', (t) => {
  const url = 'ws://127.0.0.1:7300';
  for (const id of ['', '.x', 'a/b', 'a b', 'ü', 'x'.repeat(129)]) {
    t.throws(() => new Device({ url, id }), { code: 'bad_config' }, id);
  }
  for (const bad of ['', 'http://127.0.0.1', '127.0.0.1:7300', 'ws://']) {
    t.throws(() => new Device({ url: bad, id: 'a' }), { code: 'bad_config' }, bad);
  }
  t.throws(() => new Device({ url, id: 'a', minBackoffMs: 0 }), { code: 'bad_config' });
  t.throws(() => new Device({ url, id: 'a', minBackoffMs: 10, maxBackoffMs: 5 }), { code: 'bad_config' });
  t.end();
});

void test('a closed device says so, and lets nobody wait', async (t) => {
  const { edge, device } = await setUp(t, { ackFor: () => false });
  device.connect();
  device.send({ n: 1 });
  const flushed = device.flushed();
  await once(device, 'open');
  const rejected = t.rejects(flushed, { code: 'device_closed', message: /1 records unacked/ });
  await device.close();
  await device.close();
  await rejected;
  t.throws(() => device.send({}), { code: 'device_closed' });
  t.throws(() => device.connect(), { code: 'device_closed' });
  t.equal(edge.connections, 1);

  const away = new Device({ url: 'ws://127.0.0.1:9', id: 'a', minBackoffMs: 1, maxBackoffMs: 1 });
  away.connect();
  await away.close();
  const waiting = new Device({ url: 'ws://127.0.0.1:9', id: 'a', minBackoffMs: 60_000, maxBackoffMs: 60_000 });
  waiting.connect();
  await once(waiting, 'close');
  await waiting.close();
});

void test('with a file buffer, records and the seq go on with the next process', async (t) => {
  const directory = testDirectory(t);
  let refusing = true;
  const { edge, device } = await setUp(
    t,
    { refusalFor: () => (refusing ? { status: 503 } : undefined) },
    { buffer: { directory }, protocol: 'binary' },
  );
  device.connect();
  for (let n = 1; n <= 500; n++) device.send({ n }, { time: n });
  await once(device, 'close');
  await device.close();
  refusing = false;

  const second = new Device({ url: edge.url, id: 'press-1', buffer: { directory } });
  t.equal(second.unacked, 500);
  second.connect();
  t.equal(second.send({ n: 501 }, { time: 501 }), 501);
  await second.flushed();
  await second.close();
  t.same(
    edge.received.map((record) => [record.seq, record.timeMs, record.payload]),
    Array.from({ length: 501 }, (_, index) => [index + 1, index + 1, `{"n":${index + 1}}`]),
  );
  const third = new Device({ url: edge.url, id: 'press-1', buffer: { directory, sync: true } });
  t.same([third.unacked, third.acked, third.lastSeq], [0, 501, 501]);
  t.equal(third.send({}), 502);
  await third.close();
});

void test('an edge that starts later, on the same port, is found', async (t) => {
  const first = await WsEdge.start();
  const port = first.port;
  await first.stop();
  const device = new Device({ url: `ws://127.0.0.1:${port}`, id: 'press-1', minBackoffMs: 1, maxBackoffMs: 10 });
  device.connect();
  device.send({ n: 1 });
  await once(device, 'close');
  const edge = await WsEdge.start({}, port);
  await device.flushed();
  t.equal(edge.received.length, 1);
  await device.close();
  await edge.stop();
});
