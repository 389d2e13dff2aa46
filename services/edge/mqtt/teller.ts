/**
 * What is sent to a device: packets, publishes to topics that it has subscribed to, and what is wrong, in words.
 *
 * Words, which are reasons in PUBACKs and publishes about errors, are left out where the device has much unread: codes tell
 * the same. Otherwise a device that sends its backlog at once, all of it refused, would be cut off for all the words before
 * it has read a PUBACK, and would come back with the same for ever.
 */
import type { Terms } from './connect.js';
import { writePacket, type Packet } from './control-packets.js';
import type { Answer, PendingAcks } from './pending-acks.js';
import type { Reason } from './reasons.js';
import type { Subscriptions } from './subscriptions.js';
import { UNREAD_BYTES, type Transport } from './transport.js';

/** Bytes that a device may have unread and still be told what is wrong in words. */
const UNREAD_BYTES_FOR_WORDS = UNREAD_BYTES / 2;
const REASON_CHARACTERS = 200;

export class Teller {
  constructor(
    private readonly terms: Terms,
    private readonly transport: Transport,
    private readonly subscriptions: Subscriptions,
  ) {}

  /** @returns false where it was dropped */
  send(packet: Packet): boolean {
    const bytes = this.#written(packet);
    return bytes !== undefined && this.transport.send(bytes);
  }

  /** Publishes to a topic, where the device has subscribed to it. @returns whether it was sent */
  tell(topic: string, payload: () => string): boolean {
    return this.tellAll([[topic, payload]]);
  }

  /**
   * Publishes the same under several names, to those that the device has subscribed to. They are sent in one piece: however
   * long it is, it alone cuts nobody off.
   * @returns whether any was sent
   */
  tellAll(publishes: readonly (readonly [topic: string, payload: () => string])[]): boolean {
    const pieces: Buffer[] = [];
    for (const [topic, payload] of publishes) {
      if (!this.subscriptions.has(topic)) continue;
      const bytes = this.#written({ cmd: 'publish', topic, payload: payload(), qos: 0, dup: false, retain: false });
      if (bytes !== undefined) pieces.push(bytes);
    }
    return pieces.length > 0 && this.transport.send(pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces));
  }

  /** Publishes what is wrong, where the device has subscribed to it and there is room for words. */
  explain(topic: string, payload: () => string): boolean {
    return this.transport.unreadBytes < UNREAD_BYTES_FOR_WORDS && this.tell(topic, payload);
  }

  /** Answers all publishes that can be. @param through bytes taken from the session that are on disk */
  answer(pending: PendingAcks, through: number): void {
    let roomBytes = UNREAD_BYTES_FOR_WORDS - this.transport.unreadBytes;
    const acks = pending.settle(through, (packetId, answer) => {
      const ack = this.#refusal(packetId, answer, roomBytes > 0);
      roomBytes -= ack.length;
      return ack;
    });
    if (acks !== undefined) this.transport.send(acks);
  }

  /** Ends the connection; MQTT 5 says why. */
  disconnect(reasonCode: Reason, message: string): void {
    if (this.terms.version === 5) this.send({ cmd: 'disconnect', reasonCode, properties: inWords(message) });
    this.transport.end();
  }

  /** The bytes of a packet; undefined where the device cannot take it, so that it must not be sent (MQTT 5, §3.1.2.11.4). */
  #written(packet: Packet): Buffer | undefined {
    const bytes = writePacket(packet, this.terms.version);
    return bytes.length <= this.terms.packetBytes ? bytes : undefined;
  }

  /** The PUBACK of a publish that was refused. */
  #refusal(messageId: number, { reason, message }: Answer, isRoom: boolean): Buffer {
    const { version, wantsReasons } = this.terms;
    const properties = wantsReasons && isRoom ? inWords(message) : {};
    return writePacket({ cmd: 'puback', messageId, reasonCode: reason, properties }, version);
  }
}

function inWords(message: string): { readonly reasonString: string } {
  return { reasonString: message.slice(0, REASON_CHARACTERS) };
}
