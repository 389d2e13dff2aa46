/**
 * A client of a load on PostgreSQL: one INSERT of as many rows as are in flight, in one simple query, which is one transaction;
 * its CommandComplete acks them all. The frame is the whole query, made once; the table numbers its rows.
 */
import { LoadConnection } from '../load-connection.js';
import { makePayload, noSeq, type FrameShape } from '../record-block.js';

export const POSTGRES_TABLE = 'bench_records';
const HEADER_BYTES = 5;
const Type = { error: 'E', complete: 'C', ready: 'Z', authentication: 'R' } as const;
/** What comes besides and means nothing here: parameters, the key for cancelling, notices. */
const IGNORED = new Set(['S', 'K', 'N', Type.authentication, Type.ready]);

export class PostgresConnection extends LoadConnection {
  #isReady = false;

  protected override connected(): void {
    const words = Buffer.from('user\0holdfast\0database\0holdfast\0\0', 'latin1');
    const head = Buffer.alloc(8);
    head.writeUInt32BE(head.length + words.length, 0);
    head.writeUInt32BE(3 << 16, 4);
    this.socket.write(Buffer.concat([head, words]));
  }

  protected override consume(bytes: Buffer, end: number): number {
    let at = 0;
    let acked = this.acked;
    while (at + HEADER_BYTES <= end) {
      const next = at + 1 + bytes.readUInt32BE(at + 1);
      if (next > end) break;
      const type = String.fromCharCode(bytes[at]!);
      if (type === Type.complete) acked += rowsOf(bytes.toString('latin1', at + HEADER_BYTES, next - 1));
      else if (!IGNORED.has(type)) throw new Error(`PostgreSQL says ${bytes.toString('utf8', at, next)}`);
      if (type === Type.ready && !this.#isReady) {
        this.#isReady = true;
        this.ready();
      }
      at = next;
    }
    if (acked > this.acked) this.ackedThrough(acked);
    return at;
  }
}

/** @param rows of one INSERT */
export function postgresShape(payloadBytes: number, rows: number): FrameShape {
  const row = `('bench','${makePayload(payloadBytes).toString('latin1')}')`;
  const values = Array.from({ length: rows }, () => row).join(',');
  const query = Buffer.from(`INSERT INTO ${POSTGRES_TABLE} (device_id, data) VALUES ${values}\0`, 'latin1');
  const head = Buffer.alloc(HEADER_BYTES);
  head.write('Q', 'latin1');
  head.writeUInt32BE(4 + query.length, 1);
  return { frame: Buffer.concat([head, query]), recordsAFrame: rows, writeSeq: noSeq };
}

/** `INSERT 0 64` */
function rowsOf(tag: string): number {
  const rows = /^INSERT 0 (\d+)$/.exec(tag)?.[1];
  if (rows === undefined) throw new Error(`PostgreSQL says ${tag}`);
  return Number(rows);
}
