import { pino } from 'pino';
import { test, type Test } from 'tap';
import { createRegistry } from '../../shared/metrics.js';
import { until } from '../../test/support/processes.js';
import { Connection } from './connection.js';
import type { DownlinkListener } from './downlink.js';
import { LmdbStore } from './lmdb-store.js';
import { PresenceWatch } from './presence-watch.js';
import { Things } from './things.js';
import { testDirectory } from '../../test/support/directory.js';

const log = pino({ level: 'silent' });

/** Who is here, as the test says. */
class Here {
  readonly #connections = new Map<string, Connection>();
  readonly #listeners: DownlinkListener[] = [];

  listen(listener: DownlinkListener): void {
    this.#listeners.push(listener);
  }

  find(deviceId: string): Connection | undefined {
    return this.#connections.get(deviceId);
  }

  arrive(deviceId: string): void {
    const connection = new Connection(deviceId, 1);
    this.#connections.set(deviceId, connection);
    for (const listener of this.#listeners) listener.onArrival?.(connection);
  }

  depart(deviceId: string): void {
    this.#connections.delete(deviceId);
    for (const listener of this.#listeners) listener.onDeparture?.(deviceId);
  }
}

async function start(
  t: Test,
  path: string,
  afterMs: number,
): Promise<{ things: Things; here: Here; stop: () => Promise<void> }> {
  const store = new LmdbStore({ path, mapBytes: 2 ** 28, diskFloorBytes: 0 });
  await store.open();
  const onFailure = (error: unknown): void => void t.fail(String(error));
  const options = { store, hotThings: 10_000, flushMs: 5, registry: createRegistry('shadow'), log, onFailure };
  const things = new Things({ ...options, onApplied: () => undefined });
  await things.start();
  const here = new Here();
  const watch = new PresenceWatch({ things, store, downlink: here, log, onFailure, afterMs });
  await watch.start();
  const stop = async (): Promise<void> => {
    await watch.stop();
    await things.stop();
    await store.close();
  };
  return { things, here, stop };
}

/** As a record of an edge does it. */
async function note(things: Things, id: string, online: boolean, session: string): Promise<void> {
  await things.inMemory([id], []);
  const slot = things.find(id)!;
  slot.value.applyPresence(online, Date.now(), session);
  things.touch(slot, false);
}

async function isConnected(things: Things, id: string): Promise<boolean> {
  const [thing] = await things.get([id]);
  return thing!.connected;
}

void test('a device whose edge was killed is offline after a while, and online again where it comes back', async (t) => {
  const { things, here, stop } = await start(t, testDirectory(t), 30);
  t.teardown(stop);
  here.arrive('press-1');
  await note(things, 'press-1', true, 'a');
  here.depart('press-1');
  await until(async () => !(await isConnected(things, 'press-1')));
  // The link to the edge was cut, not the device: no record says that it is back.
  here.arrive('press-1');
  await until(() => isConnected(things, 'press-1'));
  t.pass();
});

void test('a device that moved from edge to edge stays online, and one that was never heard of is not made', async (t) => {
  const { things, here, stop } = await start(t, testDirectory(t), 30);
  t.teardown(stop);
  here.arrive('press-1');
  await note(things, 'press-1', true, 'a');
  here.depart('press-1');
  here.arrive('press-1');
  here.arrive('never-heard-of');
  here.arrive('last');
  await note(things, 'last', true, 'b');
  here.depart('last');
  await until(async () => !(await isConnected(things, 'last')));
  t.ok(await isConnected(things, 'press-1'));
  const [unknown] = await things.get(['never-heard-of']);
  t.notOk(unknown!.isKnown);
});

void test('a device that went while shadow was away is found after its start', async (t) => {
  const path = testDirectory(t);
  const first = await start(t, path, 60_000);
  for (const id of ['gone', 'still-here']) {
    first.here.arrive(id);
    await note(first.things, id, true, 'a');
  }
  await first.stop();
  const second = await start(t, path, 30);
  t.teardown(second.stop);
  second.here.arrive('still-here');
  await until(async () => !(await isConnected(second.things, 'gone')));
  t.ok(await isConnected(second.things, 'still-here'));
});
