import fc from 'fast-check';
import { test } from 'tap';
import { PROTOCOLS } from './connection.js';
import { DEFAULT_EDGES, resolveEdge } from './edge-address.js';
import { numbers, parsed, readFleetOptions } from './options.js';
import { COMMANDS, parseCommand, parseScript } from './script.js';
import { SOURCE_DEVICES, sourceAddresses } from './sources.js';

const MS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000 };

void test('a script is read as it is written, however it is spaced', (t) => {
  const step = fc.record({
    amount: fc.nat(1_000),
    unit: fc.constantFrom('ms', 's', 'm'),
    command: fc.constantFrom(...COMMANDS),
    space: fc.constantFrom(' ', '  ', '\t', '\n'),
  });
  const property = fc.property(
    fc.array(step, { maxLength: 6 }),
    fc.constantFrom(';', ' ; ', ';\n'),
    (list, separator) => {
      const steps = list
        .map((each) => ({ ...each, atMs: each.amount * MS[each.unit]! }))
        .sort((a, b) => a.atMs - b.atMs);
      const text = steps
        .map(({ amount, unit, command, space }) => `${amount}${unit}${space}${command}`)
        .join(separator);
      const expected = steps.map(({ atMs, command }) => ({ atMs, command }));
      return JSON.stringify(parseScript(text)) === JSON.stringify(expected);
    },
  );
  fc.assert(property, { numRuns: 300 });
  t.end();
});

void test('what is no script is refused, with the step that is wrong', (t) => {
  for (const text of [
    '30s',
    'offline',
    '30 offline',
    '30s sleep',
    '30s offline now',
    '-1s quit',
    '1s offline; 2x quit',
  ]) {
    t.throws(() => parseScript(text), { code: 'bad_config', message: /--script/ }, text);
  }
  t.throws(() => parseScript('5s offline; 3s online'), /step 2 is before/);
  t.strictSame(parseScript(''), []);
  const property = fc.property(fc.string(), (text) => {
    try {
      return parseScript(text).every(({ command }) => parseCommand(command) === command);
    } catch (error) {
      return (error as { code?: string }).code === 'bad_config';
    }
  });
  fc.assert(property, { numRuns: 500 });
  t.end();
});

void test('an option that is not allowed is named with what is', (t) => {
  t.throws(() => parsed(numbers.devices, '0'), /--devices 0: allowed: a whole number from 1/);
  t.throws(() => parsed(numbers.size, '10'), /--size 10: allowed/);
  t.throws(() => parsed(numbers.interval, '1'), /--interval 1: allowed: a time/);
  t.equal(parsed(numbers.interval, '2s'), 2_000);
  t.end();
});

void test('the edge is found by URL, and by nothing else', async (t) => {
  t.strictSame(await resolveEdge('ws://127.0.0.1:7300', 'binary'), {
    host: '127.0.0.1',
    port: 7300,
    name: '127.0.0.1',
    isSecure: false,
  });
  t.match(await resolveEdge('wss://[::1]', 'binary'), { host: '::1', port: 443, isSecure: true });
  t.match(await resolveEdge('ws://localhost:1', 'binary'), { name: 'localhost', port: 1 });
  for (const bad of ['127.0.0.1:7300', 'http://127.0.0.1', 'ws://127.0.0.1/v1/devices', '']) {
    await t.rejects(resolveEdge(bad, 'binary'), { code: 'bad_config' }, bad);
  }
  await t.rejects(resolveEdge('ws://nowhere.invalid', 'binary'), { code: 'start_failed' });
});

void test('each protocol has schemes of its own, a port where none is named, and an edge where none is given', async (t) => {
  for (const protocol of PROTOCOLS) {
    const { port, isSecure } = await resolveEdge(DEFAULT_EDGES[protocol], protocol);
    const expected = { mqtt: 1883, udp: 5000, http: 7300, json: 7300, binary: 7300 }[protocol];
    t.strictSame({ port, isSecure }, { port: expected, isSecure: false });
  }
  t.match(await resolveEdge('mqtts://127.0.0.1', 'mqtt'), { port: 8883, isSecure: true });
  t.match(await resolveEdge('https://127.0.0.1', 'http'), { port: 443, isSecure: true });
  t.match(await resolveEdge('udp://[::1]', 'udp'), { host: '::1', port: 5000 });
  const allowed = /--edge ws:.*: allowed with --protocol mqtt: mqtt:\/\/host:port or mqtts:\/\/host:port/;
  await t.rejects(resolveEdge('ws://127.0.0.1:7300', 'mqtt'), { code: 'bad_config', message: allowed });
  await t.rejects(resolveEdge('udp://127.0.0.1/path', 'udp'), { code: 'bad_config' });
});

void test('a record that no datagram holds is refused with the size that one does', (t) => {
  const flags = { devices: '1', interval: '1s', ramp: '0s', buffer: '10', protocol: 'udp' } as const;
  t.throws(() => readFleetOptions({ ...flags, size: '1406' }, undefined), /--size 1406: .*udp: at most 1405/);
  t.match(readFleetOptions({ ...flags, size: '1405' }, undefined), { edge: DEFAULT_EDGES.udp, payloadBytes: 1405 });
  t.match(readFleetOptions({ ...flags, protocol: 'http', size: '1406' }, undefined), { edge: DEFAULT_EDGES.http });
  t.end();
});

void test('a fleet on loopback comes from as many addresses as it needs; any other has one machine to come from', (t) => {
  t.strictSame(sourceAddresses('127.0.0.1', SOURCE_DEVICES), []);
  const sources = sourceAddresses('127.0.0.1', 300 * SOURCE_DEVICES);
  t.equal(new Set(sources).size, 300);
  t.ok(sources.every((source) => /^127\.1\.[01]\.\d{1,3}$/.test(source)));
  t.strictSame(sourceAddresses('192.0.2.1', 10_000), []);
  t.throws(() => sourceAddresses('192.0.2.1', 70_000), { code: 'bad_config', message: /several machines/ });
  t.end();
});
