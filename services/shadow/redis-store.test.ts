import { statSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import t, { test, type Test } from 'tap';
import { CutProxy, type Cut } from '../../test/support/cut-proxy.js';
import { until } from '../../test/support/processes.js';
import { TestRedis, type TestRedisOptions } from '../../test/support/redis.js';
import {
  at,
  changeOf,
  countedChange,
  countedIn,
  makeCommand,
  makeThing,
  QUEUE,
  step,
} from '../../test/support/shadow-changes.js';
import { HoldfastError } from '../../shared/errors.js';
import { START } from '../../shared/position.js';
import { keysOf } from './redis-scripts.js';
import { RedisStore, type RedisOptions } from './redis-store.js';
import type { Store } from './store.js';

const log = pino({ level: 'silent' });
const AWAY = { name: 'HoldfastError', code: 'store', retry: true } as const;
/** Time for Redis to answer in tests that let it be silent. */
const TIMEOUT_MS = 300;

function storeOn(url: string | readonly string[], options: Partial<RedisOptions> = {}): RedisStore {
  const urls = typeof url === 'string' ? [url] : url;
  return new RedisStore({ urls, shard: '0', unsafeMs: 3_000, log, ...options });
}

async function openOn(
  t: Test,
  url: string | readonly string[],
  options: Partial<RedisOptions> = {},
): Promise<RedisStore> {
  const store = storeOn(url, options);
  t.teardown(() => store.close());
  await store.open();
  return store;
}

async function startRedis(t: Test, options: TestRedisOptions = {}): Promise<TestRedis> {
  const redis = await TestRedis.start(options);
  t.teardown(() => redis.stop());
  return redis;
}

const shared = await TestRedis.start();
t.teardown(() => shared.stop());
t.beforeEach(() => shared.client.flushall());

/** Every call of a store, on things that may be there or not. */
function callsOf(store: Store): readonly (() => Promise<unknown>)[] {
  return [
    () => store.position(QUEUE),
    () => store.load(['a']),
    () => store.write(changeOf([makeThing('a', 'a')])),
    () => store.list('', 1),
    () => store.loadCommands(['c']),
    () => store.listCommands('a', '', 1),
    () => store.dueCommands(1, 1),
  ];
}

/** Calls until it is no longer said that the same call can succeed later. */
async function retried<T>(call: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await call();
    } catch (error) {
      if (!(error instanceof HoldfastError && error.retry)) throw error;
      await sleep(10);
    }
  }
}

void test('the writer that opened last stops the one before, in both directions', async (t) => {
  const first = await openOn(t, shared.url);
  await first.write(countedChange(1));
  const second = await openOn(t, shared.url);
  t.strictSame(await second.position(QUEUE), at(1));
  await second.write(countedChange(2));
  const fenced = { code: 'fenced', retry: false, message: /another shadow has opened the store since/ };
  await t.rejects(first.write(countedChange(3)), fenced);
  await t.rejects(first.write(changeOf([makeThing('counted-0', 'bad')])), fenced);
  t.equal(first.ready, false);
  t.equal(await countedIn(first), 2, 'it can still read');

  await first.open();
  t.equal(first.ready, true);
  await first.write(countedChange(3));
  await t.rejects(second.write(countedChange(4)), fenced);
  t.equal(await countedIn(second), 3);
});

void test('a writer that nobody has heard of for a while stops nobody that opened after it', async (t) => {
  const first = await openOn(t, shared.url);
  const second = await openOn(t, shared.url);
  await t.rejects(first.write(countedChange(1)), { code: 'fenced' });
  await second.write(countedChange(1));
  t.equal(await countedIn(second), 1);
});

void test('stores of two shards on one server do not meet', async (t) => {
  const first = await openOn(t, shared.url, { shard: 'one' });
  const second = await openOn(t, shared.url, { shard: 'two' });
  await first.write(countedChange(1));
  await second.write(step(0, 7));
  t.equal(await countedIn(first), 1);
  t.strictSame(await second.position(QUEUE), at(7));
  t.strictSame(await second.list('', 10), []);
});

for (const cut of ['before', 'after'] satisfies Cut[]) {
  void test(`a change whose reply was lost (cut ${cut} it was made) is written again and is there once`, async (t) => {
    const proxy = await CutProxy.start(shared.url, 'evalsha');
    t.teardown(() => proxy.stop());
    const store = await openOn(t, proxy.url);
    await store.write(countedChange(1));
    proxy.arm(cut);
    const change = countedChange(2);
    await t.rejects(store.write(change), AWAY);
    t.equal(proxy.cuts, 1);
    await until(() => store.ready);
    t.strictSame(await store.position(QUEUE), at(cut === 'before' ? 1 : 2));
    await store.write(change);
    t.equal(await countedIn(store), 2);
    await store.write(countedChange(3));
    t.equal(await countedIn(store), 3);

    // One without a position, which nothing but its number tells.
    const later = changeOf([makeThing('counted-0', 'bad')]);
    proxy.arm(cut);
    await t.rejects(store.write(later), AWAY);
    await until(() => store.ready);
    await store.write(countedChange(4));
    const late = { code: 'fenced', message: /a later one, number \d+, was made since it was first tried/ };
    await t.rejects(store.write(later), late, 'what was given up is not made over what came later');
    t.equal(await countedIn(store), 4);
  });
}

void test('while Redis is away every call fails at once, and when it is back all goes on', async (t) => {
  const redis = await startRedis(t, { appendfsync: 'always' });
  const store = await openOn(t, redis.url);
  await store.write(countedChange(1));
  for (let kill = 0; kill < 3; kill++) {
    await redis.kill();
    await until(() => !store.ready);
    for (const call of callsOf(store)) await t.rejects(call(), { ...AWAY, message: /cannot be used for/ });
    await redis.restart();
    await until(() => store.ready);
    await store.write(countedChange(kill + 2));
    t.equal(await countedIn(store), kill + 2);
  }
});

void test('calls under way when Redis goes fail, and none is sent again by itself', async (t) => {
  const redis = await startRedis(t, { appendfsync: 'always' });
  const store = await openOn(t, redis.url);
  redis.pause();
  const writes = [1, 2, 3].map((n) => store.write(step(n - 1, n, [makeThing('a', `${n}`)])));
  const calls: readonly Promise<unknown>[] = [...writes, store.load(['a']), store.list('', 1)];
  const rejections = Promise.all(calls.map((call) => t.rejects(call as Promise<void>, AWAY)));
  await redis.kill();
  await rejections;
  await redis.restart();
  await until(() => store.ready);
  t.strictSame(await store.position(QUEUE), START);
  t.strictSame(await store.load(['a']), [undefined]);
});

void test('a Redis that does not answer is given up, then calls fail at once until it does', async (t) => {
  const redis = await startRedis(t);
  const store = await openOn(t, redis.url, { timeoutMs: TIMEOUT_MS });
  await store.write(countedChange(1));
  redis.pause();
  const change = countedChange(2);
  await t.rejects(store.write(change), { ...AWAY, message: /timed out/i });
  await until(() => !store.ready);
  for (const call of callsOf(store)) await t.rejects(call(), AWAY);
  redis.goOn();
  await until(() => store.ready);
  await store.write(change);
  t.equal(await countedIn(store), 2, 'whether it was made the first time or not');
});

void test('a store is opened when Redis comes, and not before', async (t) => {
  const redis = await startRedis(t);
  await redis.kill();
  const store = storeOn(redis.url);
  t.teardown(() => store.close());
  t.equal(store.ready, false);
  await t.rejects(store.open(), { ...AWAY, message: /ECONNREFUSED/ });
  await t.rejects(store.open(), AWAY);
  for (const call of callsOf(store)) await t.rejects(call(), { ...AWAY, message: /ECONNREFUSED/ });
  await redis.restart();
  await until(async () => {
    await store.open().catch(() => undefined);
    return store.ready;
  });
  await store.write(countedChange(1));
  t.equal(await countedIn(store), 1);
});

void test('a store is closed at once, whatever its connection is doing', async (t) => {
  const redis = await startRedis(t);
  await storeOn(redis.url).close();
  const open = storeOn(redis.url);
  await open.open();
  await open.close();
  await t.rejects(open.open(), { code: 'store', retry: false, message: /was closed/ });
  const away = storeOn(redis.url);
  await away.open();
  await redis.kill();
  await until(() => !away.ready);
  await away.close();
});

void test('after kill -9 while it is written position and things agree, and the writer goes on', async (t) => {
  const redis = await startRedis(t, { appendfsync: 'everysec' });
  const store = await openOn(t, redis.url);
  let confirmed = 0;
  for (let kill = 0; kill < 5; kill++) {
    const failed = (async () => {
      for (;;) await store.write(countedChange(confirmed + 1)).then(() => confirmed++);
    })();
    const enough = confirmed + 5 + Math.floor(Math.random() * 40);
    await until(() => confirmed >= enough);
    await Promise.all([t.rejects(failed, AWAY), redis.kill()]);
    await redis.restart();
    await until(() => store.ready);
    // What was confirmed may be lost with everysec, and then its writer is told.
    const held = await countedIn(store);
    t.ok(held <= confirmed + 1, `${held} changes are there, ${confirmed} were confirmed`);
    if (held < confirmed) await t.rejects(store.write(countedChange(confirmed + 1)), { code: 'fenced' });
    await store.open();
    confirmed = held;
  }
});

void test('an append-only file that ends anywhere gives back whole changes', async (t) => {
  const redis = await startRedis(t, { appendfsync: 'always', settings: ['--auto-aof-rewrite-percentage', '0'] });
  const file = join(redis.directory, 'appendonlydir', 'appendonly.aof.1.incr.aof');
  const store = await openOn(t, redis.url);
  const sizes = [statSync(file).size];
  for (let n = 1; n <= 12; n++) {
    await store.write(countedChange(n));
    sizes.push(statSync(file).size);
  }
  // From the end backwards, at the end of changes and within them.
  for (let n = 12; n > 0; n -= 2) {
    const from = sizes[n - 1]!;
    for (const size of [sizes[n]! - 1, from + Math.floor((sizes[n]! - from) * Math.random()), from]) {
      await redis.kill();
      truncateSync(file, size);
      await redis.restart();
      await until(() => store.ready);
      t.equal(await countedIn(store), n - 1, `${size} of ${sizes[n]} bytes`);
    }
  }
});

void test('a Redis that has lost its last second fences its writer, which goes on from there once it opens', async (t) => {
  const redis = await startRedis(t, { appendfsync: 'always' });
  const file = join(redis.directory, 'appendonlydir', 'appendonly.aof.1.incr.aof');
  const lose = async (size: number): Promise<void> => {
    await redis.kill();
    truncateSync(file, size);
    await redis.restart();
  };
  const store = await openOn(t, redis.url);
  for (let n = 1; n <= 3; n++) await store.write(countedChange(n));
  const { size } = statSync(file);
  for (let n = 4; n <= 6; n++) await store.write(countedChange(n));
  await lose(size);
  await until(() => store.ready);
  const lost = { code: 'fenced', retry: false, message: /has lost the last changes: it holds number 3 of 6; start/ };
  await t.rejects(store.write(countedChange(7)), lost);
  t.equal(await countedIn(store), 3);

  await store.open();
  for (let n = 4; n <= 6; n++) await store.write(countedChange(n));
  t.equal(await countedIn(store), 6);
  await store.write(changeOf([]));
  await lose(statSync(file).size - 1);
  await until(() => store.ready);
  await t.rejects(store.write(changeOf([makeThing('counted-0', 'bad')])), { code: 'fenced', message: /3 of 4/ });
  t.equal(await countedIn(store), 6, 'a change without a position is fenced too');
});

void test('a position that is behind, and a Redis that is empty, are told apart from a second writer', async (t) => {
  const store = await openOn(t, shared.url);
  await store.write(step(0, 5));
  await shared.client.hset('{holdfast:0}:positions', QUEUE, '1:4');
  await t.rejects(store.write(step(5, 6)), {
    code: 'fenced',
    message: /Redis has lost the last positions: it holds 1:4, the change starts from 1:5/,
  });
  await store.open();
  await shared.client.hset('{holdfast:0}:positions', QUEUE, '1:9');
  await t.rejects(store.write(step(5, 6)), { code: 'fenced', message: /moved by somebody else: it holds 1:9/ });
  await store.open();
  await shared.client.flushall();
  await t.rejects(store.write(step(5, 6)), { code: 'fenced', message: /Redis has lost all that it held/ });
});

void test('scripts that Redis has forgotten are sent again', async (t) => {
  const store = await openOn(t, shared.url);
  await store.write(countedChange(1));
  await shared.client.script('FLUSH');
  await store.write(countedChange(2));
  await shared.client.script('FLUSH');
  t.equal(await countedIn(store), 2);
});

void test('what Redis cannot do for now is refused whole, and the same change goes in later', async (t) => {
  const redis = await startRedis(t);
  const store = await openOn(t, redis.url);
  await store.write(countedChange(1));
  const settings = [
    [['CONFIG', 'SET', 'maxmemory', '1'], ['CONFIG', 'SET', 'maxmemory', '0'], /OOM/],
    [['CONFIG', 'SET', 'min-replicas-to-write', '1'], ['CONFIG', 'SET', 'min-replicas-to-write', '0'], /NOREPLICAS/],
    [['REPLICAOF', '127.0.0.1', '1'], ['REPLICAOF', 'NO', 'ONE'], /READONLY/],
  ] as const;
  let n = 1;
  for (const [[name, ...words], [, ...undo], message] of settings) {
    const change = countedChange(++n);
    await redis.client.call(name, ...words);
    await t.rejects(store.write(change), { ...AWAY, message });
    t.equal(await retried(() => countedIn(store)), n - 1, 'nothing of it is there');
    await redis.client.call(name, ...undo);
    await retried(() => store.write(change));
    t.equal(await countedIn(store), n);
  }
});

void test('a Redis that has as many clients as it may have is away until it has fewer', async (t) => {
  const redis = await startRedis(t);
  const open = await openOn(t, redis.url);
  await open.write(countedChange(1));
  // The one that is there is the test's.
  await redis.client.config('SET', 'maxclients', '1');
  await redis.client.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
  const change = countedChange(2);
  await until(() => !open.ready);
  await t.rejects(open.write(change), AWAY);
  const other = storeOn(redis.url, { shard: 'other' });
  t.teardown(() => other.close());
  await t.rejects(other.open(), AWAY);
  await redis.client.config('SET', 'maxclients', '100');
  await retried(() => other.open());
  await retried(() => open.write(change));
  t.equal(await countedIn(open), 2);
});

void test('keys that are of something else are refused, by name, and no attempt helps', async (t) => {
  for (const [index, key] of keysOf('0').entries()) {
    await shared.client.flushall();
    await shared.client.set(key, 'somebody');
    const store = storeOn(shared.url);
    await t.rejects(store.open(), { code: 'store', retry: false, message: `${key} is a string, not a ` }, `${index}`);
    t.equal(await shared.client.get(key), 'somebody');
    await store.close();
  }
  await shared.client.flushall();
  await shared.client.hset('{holdfast:0}:writer', 'format', '2');
  const store = storeOn(shared.url);
  await t.rejects(store.open(), { code: 'store', retry: false, message: /says format 2, not 1/ });
  await store.close();

  await shared.client.flushall();
  const open = await openOn(t, shared.url);
  await shared.client.set('{holdfast:0}:commands', 'somebody');
  const refused = { code: 'store', retry: false, message: /refuses loading commands: WRONGTYPE/ };
  await t.rejects(open.loadCommands(['c-1']), refused);
  await t.rejects(open.write(changeOf([], [makeCommand('c-1', 'a', 'x')])), { code: 'store', retry: false });
});

void test('a password is taken from the URL, and is not said; without it no attempt helps', async (t) => {
  const redis = await startRedis(t);
  await redis.client.config('SET', 'requirepass', 'open sesame');
  const without = storeOn(redis.url);
  t.teardown(() => without.close());
  await t.rejects(without.open(), { code: 'store', retry: false, message: /NOAUTH/ });
  const wrong = storeOn(redis.url.replace('//', '//:guess@'));
  t.teardown(() => wrong.close());
  const refused = await wrong.open().then(
    () => undefined,
    (error: unknown) => error,
  );
  t.match(refused, { code: 'store', retry: false, message: /WRONGPASS/ });
  t.notMatch(String(refused), /guess/);
  const store = await openOn(t, redis.url.replace('//', '//:open%20sesame@'));
  await store.write(countedChange(1));
  t.equal(await countedIn(store), 1);
});

void test('in a cluster all keys of a shard have one slot, and a node that comes back is found', async (t) => {
  const cluster = await startRedis(t, { cluster: true, appendfsync: 'always' });
  const keys = keysOf('7');
  const slots = await Promise.all(keys.map((key) => cluster.client.cluster('KEYSLOT', key)));
  t.equal(new Set(slots).size, 1);
  const store = await openOn(t, [cluster.url, cluster.url], { shard: '7' });
  for (let n = 1; n < 9; n++) await store.write(countedChange(n));
  t.equal(await countedIn(store), 8);
  const stored = await cluster.client.keys('*');
  t.strictSame(stored.sort(), [...keys].sort(), 'and there are no others');

  await cluster.kill();
  await until(() => !store.ready);
  for (const call of callsOf(store)) await t.rejects(call(), AWAY);
  await cluster.restart();
  await until(() => store.ready);
  await store.write(countedChange(9));
  t.equal(await countedIn(store), 9);
});

void test('a cluster that has lost slots is away, and is not waited for', async (t) => {
  const cluster = await startRedis(t, { cluster: true });
  const store = await openOn(t, [cluster.url, cluster.url]);
  await store.write(countedChange(1));
  await cluster.client.call('CLUSTER', 'DELSLOTSRANGE', 0, 0);
  await until(async () => (await cluster.client.cluster('INFO')).includes('cluster_state:fail'));
  const change = countedChange(2);
  await t.rejects(store.write(change), { ...AWAY, message: /CLUSTERDOWN|MOVED|Cluster/ });
  await cluster.client.call('CLUSTER', 'ADDSLOTSRANGE', 0, 0);
  await until(async () => (await cluster.client.cluster('INFO')).includes('cluster_state:ok'));
  await until(() => store.ready);
  await store.write(change);
  t.equal(await countedIn(store), 2);
});

void test('what happens to the connection is logged once, in words', async (t) => {
  const redis = await startRedis(t);
  const lines: string[] = [];
  const own = pino({ level: 'info' }, { write: (line: string) => lines.push(line) });
  const store = await openOn(t, redis.url, { log: own });
  await redis.kill();
  await until(() => !store.ready);
  for (let call = 0; call < 20; call++) await t.rejects(store.load(['a']), AWAY);
  await redis.restart();
  await until(() => store.ready);
  const said = lines.map((line) => (JSON.parse(line) as { msg: string }).msg);
  t.equal(said.filter((text) => text.includes('is away; shadow goes on when it is back')).length, 1);
  t.equal(said.filter((text) => text.includes('is back')).length, 2);
  t.ok(said.filter((text) => text.includes('cannot be reached')).length <= 2, said.join('\n'));
});
