/**
 * Checks a trace of an edge: no ack leaves before the record it is for is on disk.
 *
 * Each record goes through four states, and must have reached the last one when an ack that covers it enters its system
 * call:
 *
 *   received    its frame was read from the device's socket
 *   written     a write to data.mdb that holds its payload has returned
 *   synced      an fdatasync of data.mdb that entered after that has returned 0
 *   committed   a write of LMDB's meta page, through the descriptor opened with O_DSYNC, that entered after that has returned
 */
import { bytesOf, descriptorOf, type SystemCall } from './strace.js';

export interface Verdict {
  /** How many acks left. */
  readonly acks: number;
  /** Every record that came, with the calls that brought it from state to state. */
  readonly records: readonly TracedRecord[];
  readonly violations: readonly string[];
}

export interface TracedRecord {
  readonly seq: number;
  readonly payload: Buffer;
  readonly received: SystemCall;
  written?: SystemCall;
  synced?: SystemCall;
  committed?: SystemCall;
  /** The first ack that covers it. */
  acked?: SystemCall;
}

/** A message: with text the JSON protocol is spoken, else the binary one. */
interface Frame {
  readonly isText: boolean;
  readonly payload: Buffer;
}

const TEXT = 1;
const BINARY = 2;

/** One direction of a WebSocket: takes bytes, gives whole messages; pings and closes are passed over. */
class FrameReader {
  #buffer = Buffer.alloc(0);
  #inHead = true;
  #path = '';

  /** What was asked for in the request before the messages; empty before it has come. */
  get path(): string {
    return this.#path;
  }

  *take(bytes: Buffer): Generator<Frame> {
    this.#buffer = Buffer.concat([this.#buffer, bytes]);
    if (this.#inHead) {
      const end = this.#buffer.indexOf('\r\n\r\n');
      if (end < 0) return;
      this.#inHead = false;
      this.#path = this.#buffer.toString('latin1').split(' ', 2)[1] ?? '';
      this.#buffer = this.#buffer.subarray(end + 4);
    }
    for (let frame = this.#next(); frame !== undefined; frame = this.#next()) {
      const { opcode, payload } = frame;
      if (opcode === TEXT || opcode === BINARY) yield { isText: opcode === TEXT, payload };
    }
  }

  #next(): { readonly opcode: number; readonly payload: Buffer } | undefined {
    const buffer = this.#buffer;
    if (buffer.length < 2) return undefined;
    const short = buffer[1]! & 0x7f;
    const lengthBytes = short === 126 ? 2 : short === 127 ? 8 : 0;
    const maskBytes = (buffer[1]! & 0x80) === 0 ? 0 : 4;
    const start = 2 + lengthBytes + maskBytes;
    if (buffer.length < start) return undefined;
    const length = lengthBytes === 0 ? short : Number(`0x${buffer.toString('hex', 2, 2 + lengthBytes)}`);
    if (buffer.length < start + length) return undefined;
    const payload = Buffer.from(buffer.subarray(start, start + length));
    if (maskBytes > 0) payload.forEach((byte, at) => (payload[at] = byte ^ buffer[start - 4 + (at % 4)]!));
    this.#buffer = buffer.subarray(start + length);
    return { opcode: buffer[0]! & 0x0f, payload };
  }
}

/** A device's socket. */
class Connection {
  readonly up = new FrameReader();
  readonly down = new FrameReader();
  readonly records: TracedRecord[] = [];
}

/** The check; the calls are gone through by their entries and returns in the order of the trace. */
class Checker {
  readonly #connections = new Map<number, Connection>();
  readonly #dataFiles = new Set<number>();
  readonly #metaFiles = new Set<number>();
  readonly #records: TracedRecord[] = [];
  readonly #violations: string[] = [];
  #acks = 0;

  get verdict(): Verdict {
    return { acks: this.#acks, records: this.#records, violations: this.#violations };
  }

  enter(call: SystemCall): void {
    const connection = this.#connections.get(descriptorOf(call));
    // Others talk HTTP to the admin endpoint.
    if (connection?.up.path.startsWith('/v1/devices/') !== true) return;
    if (!/^(send|sendto|sendmsg|write|writev)$/.test(call.name)) return;
    for (const frame of connection.down.take(bytesOf(call))) {
      const seq = ackOf(frame);
      if (seq !== undefined) this.#ack(connection, seq, call);
    }
  }

  leave(call: SystemCall): void {
    if (call.result < 0) return;
    const descriptor = descriptorOf(call);
    if (call.name === 'openat') this.#open(call);
    else if (call.name === 'close') this.#close(descriptor);
    else if (/^accept/.test(call.name)) this.#connections.set(call.result, new Connection());
    else if (/^recv/.test(call.name)) this.#receive(descriptor, call);
    else if (/^p?write/.test(call.name) && this.#metaFiles.has(descriptor)) this.#commit(call);
    else if (/^p?write/.test(call.name) && this.#dataFiles.has(descriptor)) this.#write(call);
    else if (/^f(data)?sync$/.test(call.name) && this.#dataFiles.has(descriptor)) this.#sync(call);
  }

  #open(call: SystemCall): void {
    if (!bytesOf(call).toString().endsWith('/data.mdb')) return;
    (/O_D?SYNC/.test(call.args) ? this.#metaFiles : this.#dataFiles).add(call.result);
  }

  #close(descriptor: number): void {
    for (const open of [this.#connections, this.#dataFiles, this.#metaFiles]) open.delete(descriptor);
  }

  #receive(descriptor: number, call: SystemCall): void {
    const connection = this.#connections.get(descriptor);
    if (connection === undefined) return;
    for (const frame of connection.up.take(bytesOf(call))) {
      for (const { seq, payload } of recordsOf(frame)) {
        const record: TracedRecord = { seq, payload, received: call };
        connection.records.push(record);
        this.#records.push(record);
      }
    }
  }

  #write(call: SystemCall): void {
    const received = this.#records.filter(({ written }) => written === undefined);
    if (received.length === 0) return;
    const bytes = bytesOf(call);
    for (const record of received) {
      if (bytes.includes(record.payload)) record.written = call;
    }
  }

  #sync(call: SystemCall): void {
    for (const record of this.#records) {
      const { written, synced } = record;
      if (synced === undefined && written !== undefined && written.returned < call.entered) record.synced = call;
    }
  }

  #commit(call: SystemCall): void {
    for (const record of this.#records) {
      const { synced, committed } = record;
      if (committed === undefined && synced !== undefined && synced.returned < call.entered) record.committed = call;
    }
  }

  #ack(connection: Connection, seq: number, call: SystemCall): void {
    this.#acks++;
    const covered = connection.records.filter((record) => record.seq <= seq && record.acked === undefined);
    const where = `line ${Math.floor(call.entered) + 1}: ack ${seq}`;
    if (covered.length === 0) this.#violations.push(`${where} is for no record`);
    for (const record of covered) {
      record.acked = call;
      const state = stateOf(record);
      if (state !== 'committed') this.#violations.push(`${where} left when record ${record.seq} was ${state}`);
    }
  }
}

function stateOf({ written, synced, committed }: TracedRecord): string {
  if (committed !== undefined) return 'committed';
  if (synced !== undefined) return 'synced';
  return written === undefined ? 'received' : 'written';
}

/** The records of a device's frame, binary or JSON. */
function recordsOf({ isText, payload }: Frame): { readonly seq: number; readonly payload: Buffer }[] {
  if (isText) {
    const { seq, data } = JSON.parse(payload.toString()) as { seq: number; data: unknown };
    return [{ seq, payload: Buffer.from(JSON.stringify(data)) }];
  }
  const records = [];
  for (let at = 0; at + 24 <= payload.length; at += 4 + payload.readUInt32LE(at)) {
    const end = at + 4 + payload.readUInt32LE(at);
    records.push({ seq: payload.readDoubleLE(at + 8), payload: payload.subarray(at + 24, end) });
  }
  return records;
}

/** The seq of an ack, binary or JSON; undefined for any other reply. */
function ackOf({ isText, payload }: Frame): number | undefined {
  if (isText) return (JSON.parse(payload.toString()) as { ack?: number }).ack;
  return payload[0] === 1 && payload.length === 16 ? payload.readDoubleLE(8) : undefined;
}

/** Checks the calls of an edge from its start on. */
export function checkDurableAcks(calls: readonly SystemCall[]): Verdict {
  const checker = new Checker();
  const events = calls.flatMap((call) => [
    { at: call.entered, run: () => checker.enter(call) },
    // A call on one line returns right behind its entry.
    { at: call.returned + 0.5, run: () => checker.leave(call) },
  ]);
  events.sort((a, b) => a.at - b.at);
  for (const { run } of events) run();
  return checker.verdict;
}
