/**
 * Checks a trace of an edge: no ack leaves before the record it is for is on disk.
 *
 * Each record goes through four states, and must have reached the last one when an ack that covers it enters its system
 * call:
 *
 *   received    it was read from the device's socket, over whatever protocol (wires.ts)
 *   written     a write to data.mdb that holds its payload has returned
 *   synced      an fdatasync of data.mdb that entered after that has returned 0
 *   committed   a write of LMDB's meta page, through the descriptor opened with O_DSYNC, that entered after that has returned
 */
import { bytesOf, descriptorOf, messagesOf, type SystemCall } from './strace.js';
import { UdpWire, wireOf, type Wire, type WireAck, type WireRecord } from './wires.js';

export interface Verdict {
  /** How many acks left. */
  readonly acks: number;
  /** Every record that came, with the calls that brought it from state to state. */
  readonly records: readonly TracedRecord[];
  readonly violations: readonly string[];
}

export interface TracedRecord extends WireRecord {
  readonly received: SystemCall;
  written?: SystemCall;
  synced?: SystemCall;
  committed?: SystemCall;
  /** The first ack that covers it. */
  acked?: SystemCall;
}

/** An open socket of the edge. */
interface Connection {
  /** undefined before anything has come, and of those whose records do not matter. */
  wire: Wire | undefined;
  readonly records: TracedRecord[];
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
    const { wire } = connection ?? {};
    if (wire === undefined || !/^(send|sendto|sendmsg|sendmmsg|write|writev)$/.test(call.name)) return;
    for (const bytes of messagesOf(call)) for (const ack of wire.sent(bytes)) this.#ack(connection!, ack, call);
  }

  leave(call: SystemCall): void {
    if (call.result < 0) return;
    const descriptor = descriptorOf(call);
    if (call.name === 'openat') this.#open(call);
    else if (call.name === 'close') this.#close(descriptor);
    else if (/^accept/.test(call.name)) this.#connections.set(call.result, { wire: undefined, records: [] });
    else if (/^(recv|read$)/.test(call.name)) this.#receive(descriptor, call);
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
    for (const bytes of messagesOf(call)) {
      let connection = this.#connections.get(descriptor);
      if (connection === undefined) {
        // Datagrams come without a connection.
        if (!/^recvm/.test(call.name) || !UdpWire.isFirst(bytes)) continue;
        connection = { wire: new UdpWire(), records: [] };
        this.#connections.set(descriptor, connection);
      }
      connection.wire ??= wireOf(bytes);
      for (const wireRecord of connection.wire?.received(bytes) ?? []) {
        const record: TracedRecord = { ...wireRecord, received: call };
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

  #ack(connection: Connection, { says, covers }: WireAck, call: SystemCall): void {
    this.#acks++;
    const covered = connection.records.filter((record) => record.acked === undefined && covers(record));
    const where = `line ${Math.floor(call.entered) + 1}: ${says}`;
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
