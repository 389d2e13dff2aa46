import { test, type Test } from 'tap';
import { v7 as uuidv7 } from 'uuid';
import { HoldfastError } from '../../../shared/errors.js';
import { ApiContract } from '../../../test/support/api-contract.js';
import { HttpClient, type Call } from '../../../test/support/http-client.js';
import { MAX_PENDING } from '../../../test/support/memory-shadow-api.js';
import { ShadowHttp, type Checked, type Value } from '../../../test/support/shadow-http.js';
import type { HttpOptions } from './endpoint.js';
import { LIMITS } from './limits.js';
import { OPENAPI } from './openapi.js';

/** Every answer of this file is held to it, and at the end every documented status must have come. */
const contract = new ApiContract(OPENAPI);
const TOKEN = 'a-token-of-the-api';
const SHADOW = '/things/press-1/shadow';
const COMMANDS = '/things/press-1/commands';
const NAMES = '/api/things/shadow/ListNamedShadowsForThing/press-1';

function setUp(t: Test, options: Partial<HttpOptions> = {}): Promise<ShadowHttp> {
  return ShadowHttp.start(t, options, contract);
}

/** The message of an error. */
function messageOf({ json }: Checked): string {
  return String(json['message']);
}

/** One good request of every operation, in an order in which each finds what it needs. */
async function everyOperation(http: ShadowHttp): Promise<Call[]> {
  if (!http.api.things.has('press-1')) http.api.add('press-1');
  const command = await http.api.sendCommand('press-1', { name: 'reboot', data: {}, ttlMs: 1000 });
  const { id } = await http.api.sendCommand('press-1', { name: 'reboot', data: {}, ttlMs: 1000 });
  const json = { state: { desired: { throttle: 60 } } };
  return [
    { method: 'POST', path: SHADOW, json },
    { method: 'GET', path: SHADOW },
    { method: 'DELETE', path: SHADOW },
    { method: 'GET', path: NAMES },
    { method: 'GET', path: '/things' },
    { method: 'POST', path: COMMANDS, json: { name: 'reboot' } },
    { method: 'GET', path: COMMANDS },
    { method: 'GET', path: `${COMMANDS}/${id}` },
    { method: 'DELETE', path: `${COMMANDS}/${id}` },
    { method: 'POST', path: '/commands', json: { name: 'reboot', things: ['press-1'] } },
    { method: 'GET', path: `/commands/${command.id}` },
    { method: 'DELETE', path: `/commands/${command.id}` },
  ];
}

async function sendAll(http: ShadowHttp, calls: readonly Call[], status: number): Promise<Checked[]> {
  const replies: Checked[] = [];
  for (const { method, path, ...rest } of calls) {
    const reply = await http.send(method, path, rest);
    if (reply.status !== status) throw new Error(`${method} ${path} → ${reply.status} ${reply.text}, not ${status}`);
    replies.push(reply);
  }
  return replies;
}

void test('a shadow is written, read and removed, with the answers of AWS', async (t) => {
  const http = await setUp(t);
  const desired = { throttle: 60, valve: { open: true } };
  const set = await http.send('POST', SHADOW, { json: { state: { desired }, clientToken: 'a-1' } });
  t.equal(set.status, 200);
  t.match(set.json, { state: { desired }, version: 1, clientToken: 'a-1' });
  t.match(set.json['metadata'], { desired: { throttle: { timestamp: Number }, valve: { open: {} } } });
  await http.send('POST', SHADOW, { json: { state: { reported: { throttle: 60 } }, version: 1 } });
  const got = await http.send('GET', SHADOW);
  t.equal(got.status, 200);
  t.match(got.json, { version: 2, connected: true, latest: { seq: 7 } });
  t.strictSame((got.json['state'] as Value)['delta'], { valve: { open: true } });
  const removed = await http.send('POST', SHADOW, { json: { state: { desired: null } } });
  t.strictSame(removed.json['state'], { desired: null });
  t.match((await http.send('DELETE', SHADOW)).json, { version: 3, timestamp: Number });
  t.equal((await http.send('GET', SHADOW)).status, 404);
  t.equal((await http.send('DELETE', SHADOW)).status, 404);
});

void test('named shadows are apart from the classic one, and are listed by page', async (t) => {
  const http = await setUp(t);
  t.equal((await http.send('GET', NAMES)).status, 404);
  const names = ['a', 'b:1', '$x-y_z', 'B'];
  for (const name of names) {
    const path = `${SHADOW}?name=${encodeURIComponent(name)}`;
    await http.send('POST', path, { json: { state: { desired: { name } } } });
    t.strictSame(((await http.send('GET', path)).json['state'] as Value)['desired'], { name });
  }
  t.equal((await http.send('GET', SHADOW)).status, 404);
  t.equal((await http.send('GET', `${SHADOW}?name=other`)).status, 404);
  const all = await http.send('GET', NAMES);
  t.strictSame(all.json['results'], [...names].sort());
  t.notOk('nextToken' in all.json);
  const paged: unknown[] = [];
  let next = '';
  do {
    const page = await http.send('GET', `${NAMES}?pageSize=3${next}`);
    paged.push(...(page.json['results'] as unknown[]));
    next = 'nextToken' in page.json ? `&nextToken=${String(page.json['nextToken'])}` : '';
  } while (next !== '');
  t.strictSame(paged, [...names].sort());
  t.equal((await http.send('DELETE', `${SHADOW}?name=a`)).status, 200);
  for (const name of ['', 'a%20b', 'a/b', 'x'.repeat(65), '%C3%A9']) {
    const reply = await http.send('GET', `${SHADOW}?name=${name}`);
    t.equal(reply.status, 400);
    t.match(messageOf(reply), /^name must match/);
  }
});

void test('two updates with the same version: one is taken, the other gets 409 with its clientToken', async (t) => {
  const http = await setUp(t);
  await http.send('POST', SHADOW, { json: { state: { desired: { n: 0 } } } });
  const replies = await Promise.all(
    ['one', 'two'].map((clientToken) =>
      http.send('POST', SHADOW, { json: { state: { desired: { n: clientToken } }, version: 1, clientToken } }),
    ),
  );
  t.strictSame(replies.map(({ status }) => status).sort(), [200, 409]);
  const refused = replies.findIndex(({ status }) => status === 409);
  t.strictSame(replies[refused]!.json, {
    code: 409,
    message: 'Version conflict',
    clientToken: ['one', 'two'][refused],
  });
});

void test('an update that is not as it must be gets 400 with what is wrong and where', async (t) => {
  const http = await setUp(t);
  const bad: readonly (readonly [body: string, message: RegExp])[] = [
    ['', /^Invalid JSON: the body is empty$/],
    ['{"state":{"desired":{"a":1}}', /expected a comma or } at position 28 \(line 1, column 29\), found the end/],
    ['{\n "state": {desired: 1}}', /expected a key in quotes or } at position 13 \(line 2, column 12\), found "d"/],
    ['[]', /^the body must be an object with state, version, clientToken$/],
    ['null', /^the body must be an object/],
    ['{}', /^Missing required node: state$/],
    ['{"state":null}', /^State node must be an object$/],
    ['{"state":[]}', /^State node must be an object$/],
    ['{"state":{}}', /^State node must contain desired or reported$/],
    ['{"state":{"desired":1}}', /^Desired node must be an object$/],
    ['{"state":{"reported":[]}}', /^Reported node must be an object$/],
    ['{"state":{"delta":{}}}', /^State contains an invalid node: "delta"; allowed: desired, reported$/],
    ['{"state":{"desired":{}},"extra":1}', /^the body has an unknown field "extra"; allowed: state, version/],
    ['{"state":{"desired":{}},"version":"1"}', /^Invalid version: it must be a whole number from 0 to/],
    ['{"state":{"desired":{}},"version":1.5}', /^Invalid version/],
    ['{"state":{"desired":{}},"version":-1}', /^Invalid version/],
    ['{"state":{"desired":{}},"version":null}', /^Invalid version/],
    ['{"state":{"desired":{}},"clientToken":1}', /^Invalid clientToken: it must be text of at most 64 bytes$/],
    [`{"state":{"desired":{}},"clientToken":"${'é'.repeat(33)}"}`, /^Invalid clientToken/],
    ['{"state":{"desired":{"a":[{"b":1e999}]}}}', /^Invalid JSON: the number at "state.desired.a.0.b" is too large$/],
    ['{"state":{"desired":{"__proto__":{"x":1}}}}', /^the key __proto__ is not allowed \(at "state.desired"\)$/],
    ['{"__proto__":{"state":{"desired":{}}}}', /^the key __proto__ is not allowed \(at the top\)$/],
    ['{"state":{"desired":{"\\u005f_proto__":1}}}', /^the key __proto__ is not allowed/],
    [`{"state":{"desired":{"a":${'['.repeat(200)}${']'.repeat(200)}}}}`, /too many levels of nesting; maximum is 80/],
    ['['.repeat(1_000_000), /^Invalid JSON: expected a value or \] at position 1000000/],
  ];
  for (const [body, message] of bad) {
    const reply = await http.send('POST', SHADOW, { body, headers: { 'content-type': 'application/json' } });
    t.equal(reply.status, 400, body.slice(0, 80));
    t.match(messageOf(reply), message);
  }
  const latin1 = await http.send('POST', SHADOW, { body: Buffer.from('{"state":{"desired":{"a":"\xff"}}}', 'latin1') });
  t.match(messageOf(latin1), /^Invalid JSON: the body is not UTF-8$/);
  const withToken = await http.send('POST', SHADOW, { json: { state: {}, clientToken: 'a-1' } });
  t.equal(withToken.json['clientToken'], 'a-1');
  t.strictSame(http.api.calls, []);
  t.equal(({} as Value)['x'], undefined);
});

void test('attributes may have the names of what every object has', async (t) => {
  const http = await setUp(t);
  const desired = { constructor: 1, toString: { valueOf: 2 }, hasOwnProperty: 'x' };
  t.equal((await http.send('POST', SHADOW, { json: { state: { desired } } })).status, 200);
  const got = await http.send('GET', SHADOW);
  t.strictSame(JSON.stringify((got.json['state'] as Value)['desired']), JSON.stringify(desired));
});

void test('ids are percent-decoded, and must be ids', async (t) => {
  const http = await setUp(t);
  await http.send('POST', '/things/a%3Ab%2Ec/shadow', { json: { state: { desired: { n: 1 } } } });
  t.ok(http.api.things.has('a:b.c'));
  for (const id of ['-a', '', 'a%2Fb', 'a%20b', 'x'.repeat(129), '%', '%ff', 'a%00', 'é', '..', 'a?name=']) {
    const reply = await http.send('GET', `/things/${id}/shadow`);
    t.equal(reply.status, id.includes('?') ? 404 : 400, id);
  }
  for (const id of ['1', '00000000-0000-4000-8000-000000000000', uuidv7().toUpperCase()]) {
    t.equal((await http.send('GET', `/commands/${id}`)).status, 400, id);
    t.equal((await http.send('DELETE', `${COMMANDS}/${id}`)).status, 400, id);
  }
});

void test('query parameters that are not known, come twice or make no sense are refused by name', async (t) => {
  const http = await setUp(t);
  const bad: readonly (readonly [path: string, message: RegExp])[] = [
    [`${SHADOW}?nam=x`, /^"nam" is not a query parameter of this path; allowed: name$/],
    [`${SHADOW}?name=x&name=x`, /^the query parameter name is given twice$/],
    [`${SHADOW}?name=%zz`, /is not percent-encoded UTF-8$/],
    [`${SHADOW}?name=a&`, /^"" is not a query parameter/],
    ['/commands/00000000-0000-7000-8000-000000000000?x', /^"x" is not a query parameter of this path; none is$/],
    ['/?x=1', /^"x" is not a query parameter of this path; none is$/],
    ['/openapi.json?x', /^"x" is not a query parameter of this path; none is$/],
    ['/things?connected=yes', /^connected must be true or false$/],
    ['/things?connected', /^connected must be true or false$/],
    ['/things?type=', /^type must be text of 1 to 256 characters$/],
    [`/things?site=${'x'.repeat(257)}`, /^site must be text of 1 to 256 characters$/],
    ['/things?pageSize=0', /^pageSize must be a whole number from 1 to 100$/],
    ['/things?pageSize=101', /^pageSize/],
    ['/things?pageSize=1e1', /^pageSize/],
    ['/things?pageSize=-1', /^pageSize/],
    ['/things?__proto__=1', /^"__proto__" is not a query parameter/],
    ['/things?nextToken=', /^nextToken is none that this list has given$/],
    ['/things?nextToken=%00', /^nextToken/],
    ['/things?nextToken=YQ==', /^nextToken/],
    ['/things?nextToken=YR', /^nextToken/],
    [`/things?nextToken=${Buffer.from('-no-id').toString('base64url')}`, /^nextToken/],
    [`${COMMANDS}?nextToken=${Buffer.from('press-1').toString('base64url')}`, /^nextToken/],
  ];
  for (const [path, message] of bad) {
    const reply = await http.send('GET', path);
    t.equal(reply.status, 400, path);
    t.match(messageOf(reply), message, path);
  }
  t.strictSame(http.api.calls, []);
});

void test('every operation is served, and refuses a query parameter that it does not know', async (t) => {
  const http = await setUp(t);
  for (const { method, path, ...rest } of await everyOperation(http)) {
    const refused = await http.send(method, `${path}?unknown=1`, rest);
    t.equal(refused.status, 400);
    t.match(messageOf(refused), /^"unknown" is not a query parameter of this path/);
    http.api.things.get('press-1')!.shadows.set('', { desired: {}, reported: {}, version: 1, timestamp: 1 });
    http.api.commands.delete([...http.api.commands.keys()][2] ?? '');
    t.ok((await http.send(method, path, rest)).status < 300, `${method} ${path}`);
  }
});

void test('things are listed by page and by what they are', async (t) => {
  const http = await setUp(t);
  for (let n = 0; n < 30; n++) {
    const site = n < 10 ? 'ulm "2" & é' : null;
    http.api.add(`press-${n + 10}`, { connected: n % 2 === 0, type: n % 3 === 0 ? 'press' : 'saw', site });
  }
  const first = await http.send('GET', '/things');
  t.equal((first.json['things'] as unknown[]).length, LIMITS.pageSize.default);
  t.strictSame((first.json['things'] as unknown[])[0], {
    ...{ thing: 'press-10', connected: true, type: 'press', site: 'ulm "2" & é' },
  });
  const second = await http.send('GET', `/things?nextToken=${String(first.json['nextToken'])}`);
  t.equal((second.json['things'] as unknown[]).length, 5);
  t.notOk('nextToken' in second.json);
  const some = `/things?connected=true&type=press&site=${encodeURIComponent('ulm "2" & é')}&pageSize=100`;
  t.strictSame(
    ((await http.send('GET', some)).json['things'] as Value[]).map(({ thing }) => thing),
    ['press-10', 'press-16'],
  );
  t.equal((await http.send('GET', '/things?site=ulm+"2"+%26+%C3%A9')).status, 200);
});

void test('a command is sent, read, listed and canceled', async (t) => {
  const http = await setUp(t);
  http.api.add('press-1');
  const sent = await http.send('POST', COMMANDS, { json: { name: 'reboot', data: { soft: true }, ttlSeconds: 60 } });
  t.equal(sent.status, 202);
  t.match(sent.json, { thing: 'press-1', name: 'reboot', data: { soft: true }, state: 'QUEUED', sends: 0 });
  t.equal(Number(sent.json['expiresAt']) - Number(sent.json['queuedAt']), 60_000);
  const id = String(sent.json['id']);
  t.strictSame((await http.send('GET', `/commands/${id}`)).json, sent.json);
  t.strictSame((await http.send('GET', `${COMMANDS}/${id}`)).json, sent.json);
  t.equal((await http.send('GET', `/things/other/commands/${id}`)).status, 404);
  const second = await http.send('POST', COMMANDS, { json: { name: 'x' } });
  t.strictSame(second.json['data'], {});
  t.equal(Number(second.json['expiresAt']) - Number(second.json['queuedAt']), 86_400_000);
  const done = { ...http.api.commands.get(String(second.json['id']))!, sentAt: 1, finishedAt: 2, sends: 1 };
  http.api.commands.set(done.id, { ...done, state: 'SUCCEEDED', result: { ok: true } });
  const newest = await http.send('GET', `${COMMANDS}?pageSize=1`);
  t.match(newest.json['commands'], [{ id: done.id, state: 'SUCCEEDED', result: { ok: true }, sentAt: 1 }]);
  const older = await http.send('GET', `${COMMANDS}?pageSize=1&nextToken=${String(newest.json['nextToken'])}`);
  t.strictSame(older.json['commands'], [sent.json]);
  t.equal((await http.send('DELETE', `${COMMANDS}/${id}`)).json['state'], 'CANCELED');
  t.equal((await http.send('DELETE', `${COMMANDS}/${id}`)).status, 409);
  t.equal((await http.send('DELETE', `/commands/${done.id}`)).status, 409);
});

void test('a command goes to many things: those that are named, of a type, at a site', async (t) => {
  const http = await setUp(t);
  http.api.add('a', { type: 'press', site: 'ulm' });
  http.api.add('b', { type: 'press', site: 'bonn' });
  http.api.add('c', { type: 'saw', site: 'ulm' });
  const sentTo = async (targets: Value): Promise<unknown[]> => {
    const reply = await http.send('POST', '/commands', { json: { name: 'x', ...targets } });
    t.equal(reply.status, 202);
    return (reply.json['commands'] as Value[]).map(({ thing }) => thing);
  };
  t.strictSame(await sentTo({ things: ['c', 'a'] }), ['c', 'a']);
  t.strictSame(await sentTo({ type: 'press' }), ['a', 'b']);
  t.strictSame(await sentTo({ type: 'press', site: 'bonn' }), ['b']);
  t.strictSame(await sentTo({ site: 'Hamburg' }), []);
  t.equal((await http.send('POST', '/commands', { json: { name: 'x', things: ['a', 'nobody'] } })).status, 404);
});

void test('the longest list of things fits, and is answered whole', async (t) => {
  const http = await setUp(t);
  const things = Array.from({ length: LIMITS.things }, (_, n) => `thing-${n}`.padEnd(128, 'x'));
  for (const thing of things) http.api.add(thing);
  const json = { name: 'x', data: 'd'.repeat(LIMITS.commandDataBytes - 2), things };
  const reply = await http.send('POST', '/commands', { json });
  t.equal(reply.status, 202);
  t.equal((reply.json['commands'] as unknown[]).length, LIMITS.things);
});

void test('a command that is not as it must be gets 400, one that is too large 413', async (t) => {
  const http = await setUp(t);
  const of = (json: Value): Promise<Checked> => http.send('POST', COMMANDS, { json });
  const ofMany = (json: Value): Promise<Checked> => http.send('POST', '/commands', { json: { name: 'x', ...json } });
  const bad: readonly (readonly [reply: Promise<Checked>, message: RegExp])[] = [
    [of({}), /^name must be text that matches/],
    [of({ name: '' }), /^name must/],
    [of({ name: '-x' }), /^name must/],
    [of({ name: 'x'.repeat(129) }), /^name must/],
    [of({ name: 'x', ttlSeconds: 0 }), /^ttlSeconds must be a whole number from 1 to 2592000$/],
    [of({ name: 'x', ttlSeconds: 2_592_001 }), /^ttlSeconds/],
    [of({ name: 'x', ttlSeconds: '60' }), /^ttlSeconds/],
    [of({ name: 'x', ttl: 60 }), /^the body has an unknown field "ttl"; allowed: name, data, ttlSeconds$/],
    [of({ name: 'x', things: ['a'] }), /^the body has an unknown field "things"/],
    [ofMany({}), /^say who the command is for/],
    [ofMany({ things: ['a'], type: 'b' }), /^say who the command is for/],
    [ofMany({ things: [] }), /^things must be a list of 1 to 10000 ids/],
    [ofMany({ things: 'a' }), /^things must be a list/],
    [ofMany({ things: ['a', 1] }), /^things\[1\] must be text that matches/],
    [ofMany({ things: ['a', 'b', 'a'] }), /^things\[2\] names "a" again$/],
    [ofMany({ things: Array.from({ length: 10_001 }, (_, n) => `t${n}`) }), /^things must be a list/],
    [ofMany({ type: 1 }), /^type must be text/],
    [ofMany({ type: 'a', site: '' }), /^site must be text/],
  ];
  for (const [reply, message] of bad) {
    t.equal((await reply).status, 400);
    t.match(messageOf(await reply), message);
  }
  http.api.add('press-1');
  const data = 'é'.repeat((LIMITS.commandDataBytes - 2) / 2);
  t.equal((await of({ name: 'x', data })).status, 202);
  t.equal((await of({ name: 'x', data: `${data}.` })).status, 413);
  t.equal((await ofMany({ things: ['press-1'], data: `${data}.` })).status, 413);
});

void test('a thing that is not there gets no command, and one with too many under way no more', async (t) => {
  const http = await setUp(t);
  const json = { name: 'x' };
  t.equal((await http.send('POST', COMMANDS, { json })).status, 404);
  t.equal((await http.send('GET', COMMANDS)).status, 404);
  http.api.add('press-1');
  for (let n = 0; n < MAX_PENDING; n++) t.equal((await http.send('POST', COMMANDS, { json })).status, 202);
  t.equal((await http.send('POST', COMMANDS, { json })).status, 409);
  t.equal((await http.send('POST', '/commands', { json: { ...json, things: ['press-1'] } })).status, 409);
  const id = uuidv7();
  for (const path of [`/commands/${id}`, `${COMMANDS}/${id}`]) {
    t.equal((await http.send('GET', path)).status, 404);
    t.equal((await http.send('DELETE', path)).status, 404);
  }
});

void test('only a body that is JSON in UTF-8 is taken, and curl -d is told what to add', async (t) => {
  const http = await setUp(t);
  const body = '{"state":{"desired":{"a":1}}}';
  const withType = (type: string, more = {}): Promise<Checked> =>
    http.send('POST', SHADOW, { body, headers: { 'content-type': type, ...more } });
  t.equal((await http.send('POST', SHADOW, { body })).status, 200, 'no Content-Type');
  for (const type of ['application/json', 'Application/JSON ; charset="UTF-8"', 'application/json;charset=utf-8']) {
    t.equal((await withType(type)).status, 200, type);
  }
  for (const type of ['application/x-www-form-urlencoded', 'text/plain', 'application/json2', 'application', ';']) {
    const reply = await withType(type);
    t.equal(reply.status, 415, type);
    t.match(messageOf(reply), "add -H 'Content-Type: application/json' where you use curl");
  }
  t.equal((await withType('application/json; charset=latin1')).status, 415);
  t.equal((await withType('application/json', { 'content-encoding': 'gzip' })).status, 415);
  t.equal((await withType('application/json', { 'content-encoding': 'identity' })).status, 200);
  for (const call of await everyOperation(http)) {
    if (call.method !== 'POST') continue;
    const reply = await http.send('POST', call.path, { body, headers: { 'content-type': 'text/plain' } });
    t.equal(reply.status, 415);
  }
});

void test('GET and DELETE have no body', async (t) => {
  const http = await setUp(t);
  for (const method of ['GET', 'DELETE']) {
    t.equal((await http.send(method, SHADOW, { body: '{"version":1}' })).status, 400);
    t.equal((await http.send(method, SHADOW, { headers: { 'content-length': '0' } })).status, 404);
  }
  t.strictSame(http.api.calls, ['getShadow', 'deleteShadow']);
});

void test('a body over the limit gets 413, whether it declares its length or not', async (t) => {
  const http = await setUp(t, { maxBodyBytes: 50_000 });
  http.api.add('press-1');
  const body = JSON.stringify({ state: { desired: { a: 'x'.repeat(60_000) } } });
  for (const path of [SHADOW, COMMANDS, '/commands']) {
    t.equal((await http.send('POST', path, { body })).status, 413);
    t.equal((await http.send('POST', path, { body: [body.slice(0, 20_000), body.slice(20_000)] })).status, 413);
  }
  const fits = JSON.stringify({ state: { desired: { a: 'x'.repeat(7_000) } } }).padEnd(50_000);
  t.equal((await http.send('POST', SHADOW, { body: fits })).status, 200);
  const pieces = Array.from({ length: 50 }, (_, n) => fits.slice(n * 1000, (n + 1) * 1000));
  t.equal((await http.send('POST', SHADOW, { body: pieces })).status, 200);
  t.equal((await http.send('POST', SHADOW, { body: `${fits} ` })).status, 413);
  const large = { state: { desired: { b: 'x'.repeat(8_000) } }, clientToken: 'a-1' };
  const refused = await http.send('POST', SHADOW, { json: large });
  t.equal(refused.status, 413, 'what the service refuses');
  t.equal(refused.json['clientToken'], 'a-1');
});

void test('without the token nothing is served but what this is, whatever else is wrong with a request', async (t) => {
  const http = await setUp(t, { apiToken: TOKEN });
  const calls = await everyOperation(http);
  const stranger = new HttpClient(http.port);
  t.teardown(() => stranger.close());
  const before = http.api.calls.length;
  for (const authorization of [undefined, 'Basic eDp5', 'Bearer', 'Bearer ', `Token ${TOKEN}`]) {
    const headers: Record<string, string> = authorization === undefined ? {} : { authorization };
    const more = [
      { method: 'GET', path: '/nowhere' },
      { method: 'PATCH', path: SHADOW },
      { method: 'OPTIONS', path: SHADOW },
      { method: 'GET', path: '/things?x=1&x=1' },
    ];
    for (const call of [...calls, ...more]) {
      const reply = await http.through(stranger, { ...call, headers });
      t.equal(reply.status, 401);
      t.match(reply.headers['www-authenticate'], /^Bearer/);
    }
  }
  for (const token of ['x', `${TOKEN}x`, TOKEN.slice(0, -1), TOKEN.toUpperCase()]) {
    for (const call of calls) {
      const reply = await http.through(stranger, { ...call, headers: { authorization: `Bearer ${token}` } });
      t.equal(reply.status, 403);
    }
  }
  t.equal(http.api.calls.length, before);
  t.match((await http.through(stranger, { method: 'GET', path: '/' })).text, 'Holdfast shadow');
  t.equal((await http.through(stranger, { method: 'GET', path: '/openapi.json' })).json['openapi'], '3.1.0');
  await sendAll(http, [{ method: 'GET', path: '/things', headers: { authorization: `bearer ${TOKEN}` } }], 200);
  await sendAll(http, [{ method: 'GET', path: '/things', headers: { host: 'shadow.example:7320' } }], 200);
});

void test('web pages are not served, and without a token only under a name of loopback', async (t) => {
  const http = await setUp(t);
  const ask = async (headers: Record<string, string>): Promise<number> =>
    (await http.send('GET', '/things', { headers })).status;
  t.equal(await ask({ origin: 'http://localhost:7320' }), 403);
  t.equal(await ask({ origin: 'null' }), 403);
  const preflight = { origin: 'https://x.example', 'access-control-request-method': 'POST' };
  t.equal((await http.send('OPTIONS', SHADOW, { headers: preflight })).status, 403);
  for (const host of ['evil.example', 'evil.example:7320', '127.0.0.1.evil.example', '10.0.0.1']) {
    t.equal(await ask({ host }), 403, host);
  }
  for (const host of ['localhost', 'LOCALHOST:7320', '127.0.0.1:1', '[::1]:7320', '[::1]']) {
    t.equal(await ask({ host }), 200, host);
  }
});

void test('requests over the rate get 429 with Retry-After, whatever they are', async (t) => {
  const http = await setUp(t, { requestRate: 1 });
  const calls = await everyOperation(http);
  let refused = 0;
  for (const { method, path, ...rest } of [...calls, ...calls, ...calls]) {
    if ((await http.send(method, path, rest)).status === 429) refused++;
  }
  t.ok(refused > 2 * calls.length, `${refused} of ${3 * calls.length}`);
  t.equal((await http.send('GET', '/openapi.json')).status, 200);
});

void test('while the store is away every operation gets 503 with Retry-After', async (t) => {
  const http = await setUp(t);
  const calls = await everyOperation(http);
  http.api.failure = new HoldfastError('store', 'redis://secret:6379 is away', true);
  for (const reply of await sendAll(http, calls, 503)) {
    t.equal(reply.headers['retry-after'], '1');
    t.notMatch(reply.text, 'secret');
  }
  http.api.failure = undefined;
  t.equal((await http.send('GET', '/things')).status, 200);
});

void test('an error of ours is 500 with a reference to the log, and says nothing else', async (t) => {
  const http = await setUp(t);
  const calls = await everyOperation(http);
  http.api.failure = new TypeError('secret is undefined');
  for (const reply of await sendAll(http, calls, 500)) {
    t.notMatch(reply.text, /secret|at /);
    const reference = messageOf(reply).split(' ').at(-1)!;
    t.match(
      http.lines.find((line) => line['reference'] === reference),
      { err: { message: 'secret is undefined' } },
    );
  }
  http.api.failure = new HoldfastError('fenced', 'another shadow has opened the store', false);
  await sendAll(http, calls, 500);
});

void test('what takes too long is given up with 503', async (t) => {
  const http = await setUp(t, { answerWithinMs: 100 });
  let open = (): void => undefined;
  http.api.gate = new Promise((resolve) => (open = resolve));
  const reply = await http.send('GET', SHADOW);
  t.equal(reply.status, 503);
  t.match(messageOf(reply), /^this took too long/);
  open();
  t.equal((await http.send('GET', SHADOW)).status, 404);
});

void test('other methods get 405 with Allow, OPTIONS gets Allow, other paths get 404', async (t) => {
  const http = await setUp(t);
  const paths: readonly (readonly [path: string, allow: string])[] = [
    [SHADOW, 'GET, POST, DELETE, HEAD, OPTIONS'],
    ['/commands', 'POST, OPTIONS'],
    [COMMANDS, 'GET, POST, HEAD, OPTIONS'],
    ['/openapi.json', 'GET, HEAD, OPTIONS'],
    ['/', 'GET, HEAD, OPTIONS'],
  ];
  for (const [path, allow] of paths) {
    for (const method of ['PUT', 'PATCH', 'TRACE']) {
      const reply = await http.send(method, path);
      t.equal(reply.status, 405);
      t.equal(reply.headers.allow, allow);
    }
    const reply = await http.send('OPTIONS', path);
    t.equal(reply.status, 204);
    t.equal(reply.headers.allow, allow);
  }
  for (const path of [
    '/thing',
    '/things/',
    '//things',
    `${SHADOW}/`,
    '/openapi.json/',
    `/${'a/'.repeat(90)}`,
    '/%2e',
  ]) {
    for (const method of ['GET', 'POST', 'PUT', 'OPTIONS']) t.equal((await http.send(method, path)).status, 404, path);
  }
});

void test('HEAD has the headers of GET and no body, and the connection serves the next request', async (t) => {
  const http = await setUp(t);
  await http.send('POST', SHADOW, { json: { state: { desired: { a: 1 } } } });
  const client = new HttpClient(http.port);
  t.teardown(() => client.close());
  for (const path of ['/', '/openapi.json', SHADOW, '/things', '/nowhere', '/things?x']) {
    const got = await http.through(client, { method: 'GET', path });
    const head = await http.through(client, { method: 'HEAD', path });
    t.equal(head.status, got.status);
    t.equal(head.headers['content-length'], got.headers['content-length']);
    t.equal(head.text, '');
  }
});

void test('requests are counted and timed by route and status, never by id', async (t) => {
  const http = await setUp(t, { apiToken: TOKEN });
  http.api.add('press-1');
  await http.send('GET', SHADOW);
  await http.send('HEAD', SHADOW);
  await http.send('GET', '/things/other/shadow');
  await http.send('GET', '/things/-/shadow');
  await http.send('GET', '/');
  await http.send('GET', '/no/press-1');
  await http.send('GET', SHADOW, { headers: { authorization: 'Bearer other' } });
  const text = await http.registry.metrics();
  t.match(text, 'holdfast_requests_total{route="GET /things/{thing}/shadow",status="404"} 3');
  t.match(text, 'holdfast_requests_total{route="GET /things/{thing}/shadow",status="400"} 1');
  t.match(text, 'holdfast_requests_total{route="GET /",status="200"} 1');
  t.match(text, 'holdfast_requests_total{route="none",status="404"} 1');
  t.match(text, 'holdfast_requests_total{route="none",status="403"} 1');
  t.match(text, 'holdfast_request_seconds_count{route="GET /things/{thing}/shadow"} 4');
  t.notMatch(text, 'press-1');
});

void test('every documented status of every operation was produced by the tests above', (t) => {
  t.strictSame(
    contract.documented.filter((status) => !contract.produced.has(status)),
    [],
  );
  t.ok(contract.documented.length > 80, `${contract.documented.length} statuses`);
  t.end();
});
