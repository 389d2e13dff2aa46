/**
 * No secret and no payload in what an operator sees: log lines of every service at its most talkative level, /metrics and the
 * other answers of the admin endpoints, `holdfast status`, process titles and command lines.
 *
 * Everything that must not be seen holds a canary, a word that occurs nowhere else; the pipeline runs through its troubles
 * (bad records, wrong tokens, a database, Redis and router that are away, rows that PostgreSQL refuses), and then all is
 * searched for the canaries. That they were there is asked for each, because one that went nowhere is never found.
 */
import { readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { test, type Test } from 'tap';
import { WebSocket } from 'ws';
import { deviceToken } from '../shared/token.js';
import { binaryRecord, BINARY_PROTOCOL, DeviceSocket } from './support/device-socket.js';
import { runHoldfast } from './support/holdfast.js';
import { LiveClient } from './support/live.js';
import { plantBug } from './support/planted.js';
import { ServiceProcess, until } from './support/processes.js';
import { TestRedis } from './support/redis.js';
import { ShadowPipeline } from './support/shadow-pipeline.js';
import { query } from './support/storage.js';

const canaries = new Map<string, string>();

/** A word that is not to be seen. Letters and digits alone: whatever escapes text leaves it as it is. */
function canary(what: string): string {
  const word = `canary${canaries.size}x${'qzv'.repeat(6)}${canaries.size}`;
  canaries.set(what, word);
  return word;
}

const EDGE_SECRET = canary('EDGE_DEVICE_SECRET');
const SHADOW_TOKEN = canary('SHADOW_API_TOKEN');
const LIVE_TOKEN = canary('LIVE_API_TOKEN');
const DATABASE_PASSWORD = canary('the password of the database');
const REDIS_PASSWORD = canary('the password of Redis');
const WRONG_REDIS_PASSWORD = canary('a wrong password of Redis');
const WRONG_TOKEN = canary('a token that is wrong');
const DEVICE = 'press-1';
canaries.set('the token of a device', deviceToken(EDGE_SECRET, DEVICE));

/** What is to be searched: text, and where it comes from. */
type Seen = Map<string, string>;

/** Which canaries stand in what was seen, plain or as bytes are often written. */
function findCanaries(seen: Seen): string[] {
  return [...seen].flatMap(([where, text]) =>
    [...canaries]
      .filter(([, word]) => formsOf(word).some((form) => text.includes(form)))
      .map(([what]) => `${what}: ${where}`),
  );
}

function formsOf(word: string): string[] {
  const bytes = Buffer.from(word);
  // The middle of base64 that begins at any of three bytes.
  const base64 = [0, 1, 2].map((skip) => bytes.subarray(skip, skip + 3 * Math.floor((bytes.length - skip) / 3)));
  return [word, bytes.toString('hex'), bytes.join(','), ...base64.map((part) => part.toString('base64'))];
}

/** Everything that is to be seen of these services. */
async function look(services: readonly ServiceProcess[], seen: Seen): Promise<void> {
  for (const service of services) {
    const name = service.words.join(' ');
    seen.set(`${name}, its log`, service.output);
    if (!service.running) continue;
    for (const path of ['metrics', 'healthz', 'readyz']) {
      const response = await fetch(`http://127.0.0.1:${service.adminPort}/${path}`);
      seen.set(`${name}, /${path}`, await response.text());
    }
    seen.set(`${name}, its title`, readFileSync(`/proc/${service.pid}/cmdline`, 'latin1'));
    seen.set(`${name}, its name`, readFileSync(`/proc/${service.pid}/comm`, 'latin1'));
  }
}

/** Sends what devices send, right and wrong. */
async function sendRecords(port: number): Promise<void> {
  const authorization = `Bearer ${deviceToken(EDGE_SECRET, DEVICE)}`;
  const headers = { authorization };
  const text = await DeviceSocket.open(port, DEVICE, { headers });
  const time = 1_732_112_345_678;
  const good = { seq: 1, time, data: { [canary('a name within a record')]: canary('a record') } };
  text.send(good);
  text.send(`{"seq": 2, "data": ${canary('JSON that is none')}`);
  text.send(`{"seq": 2, "data": {"${canary('a record that breaks off')}`);
  text.send({ seq: 2, [canary('a record of no kind')]: 1 });
  text.send({ seq: 2, data: canary('a record over the limit').repeat(4_000) });
  text.send({ seq: 2, time: canary('a time that is none'), data: 1 });
  text.send({ seq: 3, report: { [canary('a name within a report')]: canary('a report') } });
  text.send({ seq: 4, report: { big: canary('a report over the limit').repeat(1_000) } });
  text.send({
    seq: 5,
    report: { a: { a: { a: { a: { a: { a: { a: { a: { a: canary('a report that is deep') } } } } } } } } },
  });
  text.send({ seq: 6, result: { id: 'nobody', status: 'SUCCEEDED', data: canary('a result nobody asked for') } });
  // PostgreSQL has no place for this character: one of the ways into dead_letters.
  text.send(`{"seq": 7, "data": "${canary('a record that PostgreSQL cannot hold')}\\u0000"}`);
  text.send({ seq: 8, data: { refuse: canary('a record that PostgreSQL refuses') } });
  await text.untilAcked(8);
  await text.close();
  const again = await DeviceSocket.open(port, DEVICE, { headers });
  again.send(good);
  await again.untilAcked(1);
  await again.close();
  const binary = await DeviceSocket.open(port, DEVICE, { headers, protocols: [BINARY_PROTOCOL] });
  binary.send(binaryRecord({ seq: 11, payload: canary('a binary record that is no JSON') }));
  binary.send(binaryRecord({ seq: 12, payload: JSON.stringify(canary('a binary record')) }));
  await binary.untilAcked(12);
  binary.send(Buffer.concat([binaryRecord({ seq: 13, size: 9_999, payload: canary('a malformed frame') })]));
  await binary.closed();
  for (const token of [WRONG_TOKEN, deviceToken(EDGE_SECRET, 'another')]) {
    await new Promise<void>((resolve) => {
      const socket = new WebSocket(`ws://127.0.0.1:${port}/v1/devices/${DEVICE}`, [
        `token.${token}`,
        'holdfast.v1.json',
      ]);
      socket.on('error', () => resolve());
    });
  }
}

/** Asks what applications ask, right and wrong. @returns the command's id */
async function ask(t: Test, pipeline: ShadowPipeline): Promise<void> {
  const { client } = pipeline;
  await client.desire(DEVICE, { [canary('a name within a desired state')]: canary('a desired state') });
  const update = async (body: unknown): Promise<number> => (await client.update(DEVICE, body as never)).status;
  t.equal(await update({ state: { desired: { big: canary('a desired state over the limit').repeat(1_000) } } }), 413);
  t.equal(await update({ state: { desired: canary('a desired state that is none') } }), 400);
  t.equal(await update({ state: { desired: {} }, clientToken: canary('a token of a client'), version: 99 }), 409);
  const bad = await fetch(`${client.url}/things/${DEVICE}/shadow`, {
    method: 'POST',
    headers: { authorization: `Bearer ${SHADOW_TOKEN}`, 'content-type': 'application/json' },
    body: `{"state": ${canary('a body that is no JSON')}`,
  });
  t.equal(bad.status, 400);
  const wrong = await fetch(`${client.url}/things/${DEVICE}/shadow`, {
    headers: { authorization: `Bearer ${WRONG_TOKEN}` },
  });
  t.equal(wrong.status, 403);
}

/** A device does a command, and an answer of it comes back. */
async function command(t: Test, pipeline: ShadowPipeline): Promise<void> {
  const headers = { authorization: `Bearer ${deviceToken(EDGE_SECRET, DEVICE)}` };
  const device = await DeviceSocket.open(pipeline.edge.port, DEVICE, { headers });
  const id = await pipeline.client.sendCommand(DEVICE, canary('the name of a command'), {
    x: canary("a command's data"),
  });
  await device.until(() => device.replies.some(({ type }) => type === 'command'));
  t.ok(
    device.replies.some(({ type }) => type === 'delta'),
    'the delta came',
  );
  device.send({
    seq: 21,
    result: { id, status: 'SUCCEEDED', data: { [canary('a name within a result')]: canary('a result') } },
  });
  await device.untilAcked(21);
  await until(async () => (await pipeline.client.command(DEVICE, id)).state === 'SUCCEEDED');
  await device.close();
}

async function watch(t: Test, url: string): Promise<LiveClient> {
  const refused = new WebSocket(url, ['holdfast.v1.live', `token.${WRONG_TOKEN}`]);
  await new Promise<void>((resolve) => refused.on('error', () => resolve()));
  const client = await LiveClient.connect(url, ['holdfast.v1.live', `token.${LIVE_TOKEN}`]);
  t.teardown(() => client.close());
  await client.say(`{"subscribe": ${canary('a subscription that is no JSON')}`);
  await client.say({ subscribe: '*' });
  return client;
}

async function startPipeline(t: Test, root?: string): Promise<{ pipeline: ShadowPipeline; redis: TestRedis }> {
  const redis = await TestRedis.start({ appendfsync: 'always', password: REDIS_PASSWORD });
  t.teardown(() => redis.stop());
  const pipeline = await ShadowPipeline.start(t, {
    storage: true,
    live: true,
    databasePassword: DATABASE_PASSWORD,
    redisUrl: redis.url,
    environment: {
      LOG_LEVEL: 'trace',
      EDGE_DEVICE_SECRET: EDGE_SECRET,
      SHADOW_API_TOKEN: SHADOW_TOKEN,
      SHADOW_FLUSH: '10ms',
      SHADOW_REDIS_UNSAFE: '0s',
      LIVE_API_TOKEN: LIVE_TOKEN,
    },
    ...(root === undefined ? {} : { root }),
  });
  return { pipeline, redis };
}

/** The environment in which `holdfast status` finds these services. */
function statusKeys({ services }: ShadowPipeline): Record<string, string> {
  const keys = services.map(({ words, adminPort }) => [
    `${words[0]!.toUpperCase()}_ADMIN_LISTEN`,
    `127.0.0.1:${adminPort}`,
  ]);
  return Object.fromEntries(keys) as Record<string, string>;
}

void test('no secret and no payload is in logs, metrics, status or process titles', async (t) => {
  const { pipeline, redis } = await startPipeline(t);
  const { edge, router, shadow, databaseUrl, postgres } = pipeline;
  const storage = pipeline.storage!;
  const live = pipeline.live!.process;
  // What a trigger says holds the row: dead_letters may, and a log may not.
  await query(
    databaseUrl,
    `create function refuse() returns trigger language plpgsql as $$ begin
       if new.data ? 'refuse' then raise exception 'refused: %', new.data; end if; return new; end $$;
     create trigger refuse before insert on telemetry for each row execute function refuse()`,
  );
  const known = await seriesOf(pipeline.services);
  const client = await watch(t, pipeline.live!.url);
  await ask(t, pipeline);
  await sendRecords(edge.port);
  await command(t, pipeline);

  const deadLetters = async (): Promise<number> => (await query(databaseUrl, 'select from dead_letters')).length;
  await until(async () => (await deadLetters()) === 3);
  await until(async () => (await storage.metric('holdfast_duplicates_total')) > 0);

  const met = await seriesOf(pipeline.services);
  t.ok(known.length > 30);
  t.strictSame(
    met.filter((series) => !known.includes(series)),
    [],
    'what happens is counted in series that were there before it happened',
  );

  const seen: Seen = new Map();
  // The database goes away and comes back; then Redis; then the router; then shadow, which is
  // first started with a wrong password.
  await postgres!.kill();
  await sendMore(edge.port, 31, canary('a record while the database is away'), 'press-2');
  await until(() => /no database/.test(storage.output) && /without type and site/.test(live.output));
  const away = await runHoldfast(['status', '--interval', '20ms'], statusKeys(pipeline));
  seen.set('status without a database', away.stdout + away.stderr);
  await postgres!.restart();
  await until(() => storage.output.split('"connected to the database"').length === 3);
  await redis.kill();
  await sendMore(edge.port, 41, canary('a record while Redis is away'));
  await until(() => /cannot be reached/.test(shadow.output));
  const unserved = await fetch(`${pipeline.client.url}/things/${DEVICE}/shadow`, {
    method: 'POST',
    // The last connection may be about to be closed for its idleness.
    headers: { authorization: `Bearer ${SHADOW_TOKEN}`, 'content-type': 'application/json', connection: 'close' },
    body: JSON.stringify({ state: { desired: { x: canary('a state that waits') } } }),
  });
  t.equal(unserved.status, 503);
  await redis.restart();
  await until(() => / is back/.test(shadow.output));
  await router.end('SIGKILL');
  await sendMore(edge.port, 51, canary('a record while the router is away'));
  await until(() => /no link to the router/.test(edge.process.output));
  await router.start();
  await until(async () => (await query(databaseUrl, 'select from telemetry where seq = 51')).length === 1);
  await until(async () => (await edge.process.metric('holdfast_queue_records')) === 0);
  await until(() => live.output.split('"connected to the router"').length === 3);
  await shadow.end('SIGTERM');
  await until(() => /no link to shadow/.test(edge.process.output));
  const wrongUrl = redis.url.replace(REDIS_PASSWORD, WRONG_REDIS_PASSWORD);
  const refused = new ServiceProcess(['shadow'], { ...shadow.environment, SHADOW_REDIS: wrongUrl }, shadow.adminPort);
  t.teardown(() => refused.end('SIGKILL'));
  refused.spawn();
  await until(() => /WRONGPASS|NOAUTH/.test(refused.output));
  await refused.end();
  seen.set('shadow with a wrong password', refused.output);
  await shadow.start();

  for (const words of [['status'], ['status', '--json']]) {
    const { stdout, stderr } = await runHoldfast([...words, '--interval', '20ms'], statusKeys(pipeline));
    seen.set(words.join(' '), stdout + stderr);
  }
  await look(pipeline.services, seen);
  for (const service of pipeline.services) {
    await service.end();
    seen.set(`${service.words.join(' ')}, its log to the end`, service.output);
    t.match(service.output, /"stopped"/);
  }
  t.strictSame(findCanaries(seen), []);

  await t.test('each state was told in one line', (t) => {
    const told: readonly (readonly [ServiceProcess, readonly RegExp[]])[] = [
      [
        edge.process,
        [/connected to the router/, /no link to the router/, /the router has caught up/, /connected to shadow/],
      ],
      [
        router,
        [/edge connected/, /consumer attached/, /consumer storage has caught up/, /consumer shadow has caught up/],
      ],
      [
        storage,
        [/attached to the router/, /no link to the router/, /caught up with the router/, /connected to the database/],
      ],
      [shadow, [/the store is open/, /attached to the router/, /caught up with the router/]],
      [live, [/connected to the router/, /no link to the router/, /the database is back/]],
    ];
    for (const [service, lines] of told)
      for (const line of lines) t.match(service.output, line, service.words.join(' '));
    for (const { output, words } of pipeline.services) {
      t.ok(output.split('\n').length < 100, `${words.join(' ')}: ${output.split('\n').length} lines`);
    }
    t.end();
  });

  await t.test('what was searched for went through all that was searched', async (t) => {
    const stored = await query<{ data: string }>(databaseUrl, 'select data::text from telemetry');
    const dead = await query<{ payload: Buffer; reason: string }>(
      databaseUrl,
      'select payload, reason from dead_letters',
    );
    const kept = [...stored.map(({ data }) => data), ...dead.map(({ payload }) => payload.toString())].join('\n');
    const went = [...canaries].filter(([, word]) => kept.includes(word)).map(([what]) => what);
    for (const what of ['a record', 'a report', 'a result', 'a binary record', 'a binary record that is no JSON']) {
      t.ok(went.includes(what), `${what} is in the database`);
    }
    t.ok(went.includes('a record that PostgreSQL refuses') && went.includes('a record that PostgreSQL cannot hold'));
    t.ok(dead.some(({ reason }) => reason.includes(canaries.get('a record that PostgreSQL refuses')!)));
    t.match(client.texts.join('\n'), canaries.get('a record')!, 'live has sent it');
    for (const [what, word] of canaries) {
      for (const form of formsOf(word))
        t.ok(findCanaries(new Map([['here', `…${form}…`]])).includes(`${what}: here`), what);
    }
  });
});

void test('a leak that is planted is found', async (t) => {
  const root = await plantBug({
    file: 'services/storage/main.js',
    original: 'log.info({ fetch: config.fetch }',
    planted: 'log.info({ ...config }',
  });
  t.teardown(() => rm(root, { recursive: true, force: true }));
  const { pipeline } = await startPipeline(t, root);
  const seen: Seen = new Map();
  await look(pipeline.services, seen);
  t.strictSame(findCanaries(seen), ['the password of the database: storage, its log']);
});

/** The series of counters of events, with their service and label. */
async function seriesOf(services: readonly ServiceProcess[]): Promise<string[]> {
  const texts = await Promise.all(
    services.map(async ({ adminPort }) => (await fetch(`http://127.0.0.1:${adminPort}/metrics`)).text()),
  );
  return [...texts.join('\n').matchAll(/^(holdfast_\w+_total\{.*(?:reason|fault|type|state)="\w+".*\}) /gm)].map(
    ([, series]) => series!,
  );
}

async function sendMore(port: number, seq: number, payload: string, id = DEVICE): Promise<void> {
  const headers = { authorization: `Bearer ${deviceToken(EDGE_SECRET, id)}` };
  const device = await DeviceSocket.open(port, id, { headers });
  device.send({ seq, data: { more: payload } });
  await device.untilAcked(seq);
  await device.close();
}
