import fc from 'fast-check';
import { test } from 'tap';
import { Presence } from './presence.js';

type Said = readonly [online: boolean, timeMs: number, session: string | undefined];

function connectedAfter(...said: readonly Said[]): boolean {
  const presence = new Presence();
  for (const each of said) presence.apply(...each);
  return presence.connected;
}

void test('a device is connected from its online to the offline of the same session', (t) => {
  t.notOk(connectedAfter());
  t.ok(connectedAfter([true, 1, 'a']));
  t.notOk(connectedAfter([true, 1, 'a'], [false, 2, 'a']));
  t.ok(connectedAfter([true, 1, 'a'], [false, 2, 'a'], [true, 3, 'b']));
  t.end();
});

void test('a half-open session that ends late does not disconnect the one that followed it', (t) => {
  t.ok(connectedAfter([true, 1, 'a'], [true, 5, 'b'], [false, 60, 'a']));
  t.ok(connectedAfter([true, 5, 'b'], [true, 1, 'a'], [false, 60, 'a']), 'also where the older edge lags behind');
  t.notOk(connectedAfter([true, 5, 'b'], [true, 1, 'a'], [false, 6, 'b'], [false, 60, 'a']));
  t.end();
});

void test('an offline holds for its session whatever the clocks say', (t) => {
  t.notOk(connectedAfter([true, 5, 'a'], [false, 4, 'a']));
  t.ok(connectedAfter([true, 5, 'a'], [false, 9, 'a'], [true, 8, 'b']), 'the edge that went offline had a fast clock');
  t.end();
});

void test('without a session the newer time wins', (t) => {
  t.notOk(connectedAfter([true, 1, undefined], [false, 2, undefined]));
  t.ok(connectedAfter([true, 2, undefined], [false, 1, undefined]));
  t.notOk(connectedAfter([false, 2, undefined], [true, 1, undefined]));
  t.notOk(connectedAfter([true, 1, 'a'], [false, 2, undefined]));
  t.ok(connectedAfter([true, 3, 'a'], [false, 2, undefined]));
  t.notOk(connectedAfter([true, 1, undefined], [false, 2, 'a']));
  t.ok(connectedAfter([true, 3, undefined], [false, 2, 'a']));
  t.notOk(connectedAfter([false, 2, 'a']));
  t.end();
});

void test('edges that forward at their own pace all lead to the same presence', (t) => {
  // Sessions follow each other, each at an edge of its own; the last may still be open.
  const sessions = fc.tuple(fc.integer({ min: 1, max: 5 }), fc.boolean(), fc.array(fc.nat(), { maxLength: 40 }));
  fc.assert(
    fc.property(sessions, ([count, isOpen, picks]) => {
      const edges: Said[][] = [];
      for (let i = 0; i < count; i++) {
        const edge: Said[] = [[true, 10 * i, `s${i}`]];
        if (i < count - 1 || !isOpen) edge.push([false, 10 * i + 25, `s${i}`]);
        edges.push(edge);
      }
      const presence = new Presence();
      for (let at = 0; edges.some((edge) => edge.length > 0); at++) {
        const waiting = edges.filter((edge) => edge.length > 0);
        presence.apply(...waiting[(picks[at] ?? 0) % waiting.length]!.shift()!);
      }
      return presence.connected === isOpen;
    }),
    { numRuns: 1_000 },
  );
  t.end();
});
