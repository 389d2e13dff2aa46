import { deepStrictEqual, ok } from 'node:assert/strict';
import fc from 'fast-check';
import { test } from 'tap';
import { decodeUplink, type UplinkMessage } from '../../shared/downlink-frames.js';
import { Announcements } from './announcements.js';

type Happens = { readonly what: 'open' | 'close' | 'ask'; readonly device: string } | { readonly what: 'send' };

const device = fc.constantFrom('a', 'b', 'c');
const happens: fc.Arbitrary<Happens> = fc.oneof(
  fc.record({ what: fc.constantFrom('open' as const, 'close' as const, 'ask' as const), device }),
  fc.record({ what: fc.constant('send' as const) }),
);

/** What shadow knows of one device. */
interface Known {
  /** The connection that it was subscribed for; undefined: it is gone. */
  connection: number | undefined;
}

class Model {
  readonly announcements = new Announcements();
  /** The current connection of each device that is here. */
  readonly here = new Map<string, number>();
  readonly known = new Map<string, Known>();
  #connections = 0;
  most = 0;

  happens(event: Happens): void {
    if (event.what === 'send') {
      this.send();
      return;
    }
    const { what, device: id } = event;
    if (what === 'open') {
      if (this.here.has(id)) this.announcements.cameAgain(id);
      else this.announcements.came(id);
      this.here.set(id, ++this.#connections);
    } else if (this.here.has(id)) {
      if (what === 'ask') {
        this.announcements.asks(id);
      } else {
        this.announcements.went(id);
        this.here.delete(id);
      }
    }
    this.most = Math.max(this.most, this.announcements.waiting);
  }

  /** @returns false where nothing was waiting */
  send(): boolean {
    const frames = this.announcements.next();
    for (const frame of frames ?? []) this.#heard(decodeUplink(frame)!);
    return frames !== undefined;
  }

  #heard({ type, deviceId }: UplinkMessage): void {
    const before = this.known.get(deviceId)?.connection;
    if (type === 'subscribe') {
      // ZeroMQ counts subscriptions: a second one would need a second cancellation.
      deepStrictEqual(before, undefined, 'it was not subscribed');
      this.known.set(deviceId, { connection: this.here.get(deviceId) });
    } else if (type === 'cancel') {
      ok(before !== undefined, 'it was subscribed');
      this.known.set(deviceId, { connection: undefined });
    } else {
      deepStrictEqual(before, this.here.get(deviceId), 'a question is one of the connection that was announced');
    }
  }
}

void test('whatever devices do, shadow ends up knowing each that is here by its current connection, and no other', (t) => {
  let changes = 0;
  fc.assert(
    fc.property(fc.array(happens, { maxLength: 60 }), (events) => {
      const model = new Model();
      for (const event of events) model.happens(event);
      while (model.send());
      for (const [id, { connection }] of model.known) deepStrictEqual(connection, model.here.get(id));
      for (const id of model.here.keys()) ok(model.known.has(id));
      ok(model.most <= 6, 'no more waits than a change and a question for each of the three devices');
      changes += model.known.size;
    }),
    { numRuns: 2_000 },
  );
  t.ok(changes > 1_000);
  t.end();
});

void test('a hundred thousand devices that come at once are announced in time that grows with their number', (t) => {
  const announcements = new Announcements();
  const count = 100_000;
  for (let index = 0; index < count; index++) announcements.came(`device-${index}`);
  let sent = 0;
  // With a new iterator a frame this would not end within the test's timeout.
  while (announcements.next() !== undefined) sent++;
  t.equal(sent, count);
  t.equal(announcements.waiting, 0);
  t.end();
});
