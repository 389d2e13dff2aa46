/**
 * The newest telemetry of a thing. Its payload stays where it came in, in the batch, until the thing is encoded or viewed:
 * of ten records that a device sends within a batch, nine are overtaken and cost two comparisons each.
 *
 * After that it is kept as a text of one character a byte: a buffer of its own would take three times the memory of a
 * usual payload, and the batch could not be let go.
 */
import { isJsonObject, type Json, type JsonObject } from './json.js';

/** Deeper payloads (only the binary protocol lets them in) are left out of views, whose JSON is written recursively. */
const MAX_DEPTH = 64;

export class Latest {
  effectiveMs = -Infinity;
  timeMs = 0;
  seq = 0;
  #batch: Buffer | undefined;
  #start = 0;
  #end = 0;
  #bytes = '';

  /** Takes a record unless it is older than the one that is there. */
  apply(batch: Buffer, start: number, end: number, effectiveMs: number, timeMs: number, seq: number): void {
    if (effectiveMs < this.effectiveMs || (effectiveMs === this.effectiveMs && seq < this.seq)) return;
    this.effectiveMs = effectiveMs;
    this.timeMs = timeMs;
    this.seq = seq;
    this.#batch = batch;
    this.#start = start;
    this.#end = end;
  }

  /** As it was stored. */
  restore(bytes: string, effectiveMs: number, timeMs: number, seq: number): void {
    this.#bytes = bytes;
    this.#batch = undefined;
    this.effectiveMs = effectiveMs;
    this.timeMs = timeMs;
    this.seq = seq;
  }

  /** The payload, a character a byte; lets go of the batch. */
  get bytes(): string {
    if (this.#batch !== undefined) {
      this.#bytes = this.#batch.toString('latin1', this.#start, this.#end);
      this.#batch = undefined;
    }
    return this.#bytes;
  }

  /** `{time, seq, data}`, without `data` where the payload is no JSON. */
  view(): JsonObject {
    const data = parse(Buffer.from(this.bytes, 'latin1').toString());
    const { timeMs: time, seq } = this;
    return data === undefined || !isWithin(data, MAX_DEPTH) ? { time, seq } : { time, seq, data };
  }
}

function parse(text: string): Json | undefined {
  try {
    return JSON.parse(text) as Json;
  } catch {
    return undefined; // binary payloads are opaque
  }
}

function isWithin(value: Json, levels: number): boolean {
  if (!Array.isArray(value) && !isJsonObject(value)) return true;
  return levels > 0 && Object.values(value).every((each: Json) => isWithin(each, levels - 1));
}
