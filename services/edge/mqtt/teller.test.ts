import mqttPacket, { type Packet } from 'mqtt-packet';
import { test } from 'tap';
import type { Terms } from './connect.js';
import { PendingAcks } from './pending-acks.js';
import { Reason } from './reasons.js';
import { Subscriptions } from './subscriptions.js';
import { Teller } from './teller.js';
import { DownTopics } from './topics.js';
import { UNREAD_BYTES, type Transport } from './transport.js';

/** Keeps what is sent, and has as much unread as a test says. */
class Kept implements Transport {
  readonly canPause = true;
  readonly packets: Packet[] = [];
  readonly #parser = mqttPacket.parser({ protocolVersion: 5 }).on('packet', (packet) => this.packets.push(packet));
  sends = 0;

  constructor(public unreadBytes: number) {}

  send(bytes: Buffer): boolean {
    this.sends++;
    this.#parser.parse(bytes);
    return true;
  }

  pause(): void {}
  resume(): void {}
  end(): void {}
  destroy(): void {}
}

const TERMS: Terms = {
  ...{ deviceId: 'd', version: 5, keepAliveSeconds: 0, packetBytes: 2_000, wantsReasons: true, will: undefined },
};

function tellerOf(kept: Kept): Teller {
  const subscriptions = new Subscriptions(new DownTopics('d'));
  for (const topic of ['errors', 'delta']) subscriptions.add(`holdfast/d/${topic}`);
  return new Teller(TERMS, kept, subscriptions);
}

/** Answers so many refused publishes at once. @returns how many of the PUBACKs say why in words */
function refuse(kept: Kept, count: number): number {
  const pending = new PendingAcks();
  for (let id = 1; id <= count; id++) pending.add(id, 0, { reason: Reason.badPayload, message: 'y'.repeat(150) });
  tellerOf(kept).answer(pending, 0);
  const acks = kept.packets.flatMap((packet) => (packet.cmd === 'puback' ? [packet] : []));
  if (acks.some(({ reasonCode }) => reasonCode !== Reason.badPayload)) throw new Error('each has its code');
  if (acks.map(({ messageId }) => messageId).some((id, index) => id !== index + 1)) throw new Error('not in order');
  if (acks.length !== count) throw new Error(`${acks.length} were answered`);
  return acks.filter(({ properties }) => properties?.reasonString !== undefined).length;
}

void test('reasons are told in words as long as little is unread; codes always', (t) => {
  t.equal(refuse(new Kept(0), 20), 20);
  const some = refuse(new Kept(0), 1_000);
  t.ok(some > 100 && some * 150 < UNREAD_BYTES / 2 + 150, `${some} of 1,000 in words`);
  t.equal(refuse(new Kept(UNREAD_BYTES / 2), 1_000), 0);
  t.end();
});

void test('errors are left out where much is unread, deltas are not', (t) => {
  const kept = new Kept(UNREAD_BYTES / 2);
  const teller = tellerOf(kept);
  t.notOk(teller.explain('holdfast/d/errors', () => '{}'));
  t.ok(teller.tell('holdfast/d/delta', () => '{}'));
  kept.unreadBytes--;
  t.ok(teller.explain('holdfast/d/errors', () => '{}'));
  t.same(
    kept.packets.map((packet) => (packet.cmd === 'publish' ? packet.topic : packet.cmd)),
    ['holdfast/d/delta', 'holdfast/d/errors'],
  );
  t.end();
});

void test('the same under several names goes in one piece, without what nobody listens to or is too long', (t) => {
  const kept = new Kept(0);
  const teller = tellerOf(kept);
  const long = (): string => 'z'.repeat(3_000);
  const text = (): string => '{}';
  t.ok(
    teller.tellAll([
      ['holdfast/d/delta', text],
      ['holdfast/d/errors', long],
      ['holdfast/d/shadow', text],
      ['holdfast/d/errors', text],
    ]),
  );
  t.equal(kept.sends, 1);
  t.equal(kept.packets.length, 2);
  t.notOk(teller.tellAll([['holdfast/d/delta', long]]));
  t.equal(kept.sends, 1);
  t.end();
});
