/**
 * What shadow remembers of a device's connection: whether it is here, and what it was given.
 *
 * A million of them are held, so this is small: no text that was sent is kept where a digest of it is shorter, and a
 * device that was told nothing shares its empty values with all others. Every new connection of a device is a new object;
 * whoever has waited for something compares it with the current one, and so notices that what it did was for a connection
 * that is gone.
 */
import { createHash } from 'node:crypto';

const NONE: string[] = [];
/** Up to so many ids are looked up one by one. */
const FEW = 16;
/** The length of a digest, which is base64 and so never the JSON of a delta. */
const DIGEST_CHARACTERS = 44;

export class Connection {
  /** The delta that was given last, as markOf makes it; '' where none was, or where it has vanished since. */
  told = '';
  /** Its shadow was asked for and is not answered yet. */
  asked = false;
  /** It is in one of the backlogs of what is to be looked at. */
  waiting = false;
  /** Commands that it was given and that are pending. An array: a set takes four times the memory of one id. */
  #given = NONE;

  /** @param subscriptions how many edges have the device: two while it moves from one to the other */
  constructor(
    readonly deviceId: string,
    public subscriptions: number,
  ) {}

  /** Notes that it was given a command. */
  give(commandId: string): void {
    if (this.#given === NONE) this.#given = [commandId];
    else this.#given.push(commandId);
  }

  /** Of the pending commands, those that it was not given; those that are pending no more are forgotten. */
  missing(pending: readonly string[]): readonly string[] {
    if (this.#given === NONE) return pending;
    const isPending = lookUp(pending);
    const given = this.#given.filter(isPending);
    this.#given = given.length === 0 ? NONE : given;
    const isGiven = lookUp(given);
    return pending.filter((id) => !isGiven(id));
  }
}

function lookUp(ids: readonly string[]): (id: string) => boolean {
  if (ids.length <= FEW) return (id) => ids.includes(id);
  const set = new Set(ids);
  return (id) => set.has(id);
}

/** What is remembered of a delta: the text, or its digest where that is shorter. */
export function markOf(delta: { readonly text: string } | undefined): string {
  if (delta === undefined) return '';
  if (delta.text.length <= DIGEST_CHARACTERS) return delta.text;
  return createHash('sha256').update(delta.text).digest('base64');
}
