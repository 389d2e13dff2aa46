/** A client of a load on Redis: pipelined XADD, whose answers are counted; as cheap as a device of a load. */
import { LoadConnection } from '../load-connection.js';

const CR = 0x0d;
const DOLLAR = 0x24;
const LINE_END_BYTES = 2;

export class RedisConnection extends LoadConnection {
  protected override connected(): void {
    this.ready();
  }

  /** Answers are bulk strings, the ids of the entries: `$15\r\n1732112345678-0\r\n`. */
  protected override consume(bytes: Buffer, end: number): number {
    let at = 0;
    let answers = 0;
    for (;;) {
      if (at < end && bytes[at] !== DOLLAR) throw new Error(`Redis says ${bytes.toString('latin1', at, end)}`);
      let length = 0;
      let digit = at + 1;
      while (digit < end && bytes[digit] !== CR) length = length * 10 + bytes[digit++]! - 48;
      const next = digit + LINE_END_BYTES + length + LINE_END_BYTES;
      if (digit >= end || next > end) break;
      at = next;
      answers++;
    }
    if (answers > 0) this.ackedThrough(this.acked + answers);
    return at;
  }
}
