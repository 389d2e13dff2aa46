/** What waits by a clock, when that is set back by an hour: ingest and the consumer have their cases beside them. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type Test } from 'tap';
import { Router, Subscriber } from 'zeromq';
import { HEAD_TOPIC } from '../../shared/consumer-frames.js';
import { LinkType, SOCKET_OPTIONS } from '../../shared/links.js';
import { testDirectory } from '../support/directory.js';
import { TestEdge } from '../support/edge.js';
import { freePort } from '../support/ports.js';
import { TestRouter } from '../support/router.js';
import { clockKeys } from './clocks.js';

/** Heads by which the router has seen its new clock for long. */
const HEADS = 5;

/** A clock for a service: its keys, and what sets it back by an hour. */
function makeClock(t: Test): { readonly keys: Readonly<Record<string, string>>; setBack(): void } {
  const file = join(testDirectory(t), 'shift');
  writeFileSync(file, '0');
  return { keys: clockKeys(file), setBack: () => writeFileSync(file, '-3600000') };
}

void test('a router whose clock is set back goes on saying where its head is', async (t) => {
  const clock = makeClock(t);
  const router = await TestRouter.start(t, clock.keys);
  const subscriber = new Subscriber(SOCKET_OPTIONS);
  t.teardown(() => subscriber.close());
  subscriber.connect(router.publish);
  subscriber.subscribe(HEAD_TOPIC);
  await subscriber.receive();
  clock.setBack();
  for (let heads = 0; heads < HEADS; heads++) await subscriber.receive();
  t.pass('heads come');
});

void test('an edge whose clock is set back asks a router again that does not answer', async (t) => {
  const clock = makeClock(t);
  const port = await freePort();
  const silent = new Router(SOCKET_OPTIONS);
  t.teardown(() => silent.close());
  await silent.bind(`tcp://127.0.0.1:${port}`);
  const edge = await TestEdge.start({ ...clock.keys, EDGE_ROUTER: `tcp://127.0.0.1:${port}` });
  t.teardown(() => edge.stop());
  for (let hellos = 0; hellos < 2; hellos++) {
    const [, frame] = await silent.receive();
    t.equal(frame![0], LinkType.hello);
    clock.setBack();
  }
});
