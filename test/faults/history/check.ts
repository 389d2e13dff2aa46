/**
 * The check of a history against the places where its records are. Everything is read as a stream, once, and each record
 * costs one look at its byte: O(n) in time, and in memory the bytes of records.ts.
 */
import { Kind, RecordCursor } from '../../../shared/batch.js';
import { Findings } from './findings.js';
import { payloadOf } from './payload.js';
import { Mark, readRecords, type DeviceRecords } from './records.js';

/** A row of telemetry. */
export interface Row {
  readonly deviceId: string;
  readonly seq: number;
  /** The kind of record whose data it holds; undefined: data that was never sent. */
  readonly kind: 'telemetry' | 'report' | undefined;
}

/** Where a queue stands on the way. */
export type Place = 'edge' | 'router';

export interface QueueRules {
  /** It has kept everything that was acked: what is not there is lost. */
  readonly holdsAll: boolean;
  /** No device had to send again, so nothing may be there twice. */
  readonly isOnce: boolean;
}

export class HistoryCheck {
  readonly findings = new Findings();
  readonly records: Map<string, DeviceRecords>;

  /** @param path of the log */
  constructor(path: string) {
    this.records = readRecords(path);
  }

  /** Looks at the whole table. */
  async table(rows: AsyncIterable<readonly Row[]>): Promise<void> {
    for await (const block of rows) for (const row of block) this.#row(row);
    this.#findLost(Mark.table, 'the table');
  }

  /** Looks at a whole queue, batch by batch in its order. */
  queue(place: Place, batches: Iterable<Buffer>, rules: QueueRules): void {
    const mark = Mark[place];
    for (const device of this.records.values()) device.lastSeen = 0;
    for (const batch of batches) {
      const cursor = new RecordCursor(batch);
      while (cursor.next()) {
        if (cursor.kind === Kind.telemetry || cursor.kind === Kind.report) this.#queued(cursor, mark, place, rules);
      }
    }
    if (rules.holdsAll) this.#findLost(mark, `the queue of the ${place}`);
  }

  #row({ deviceId, seq, kind }: Row): void {
    const device = this.#sender(deviceId, seq, 'the table');
    if (device === undefined) return;
    if (kind !== device.kind(seq)) this.findings.add('unsent', `${deviceId} ${seq} has other data in the table`);
    if ((device.marks(seq) & Mark.table) !== 0) this.findings.add('doubled', `${deviceId} ${seq} in the table`);
    device.mark(seq, Mark.table);
  }

  #queued(cursor: RecordCursor, mark: number, place: Place, { isOnce }: QueueRules): void {
    const { deviceId, seq } = cursor;
    const device = this.#sender(deviceId, seq, `the queue of the ${place}`);
    if (device === undefined) return;
    const kind = cursor.kind === Kind.telemetry ? 'telemetry' : 'report';
    if (kind !== device.kind(seq) || cursor.payload.toString() !== payloadOf(deviceId, seq, kind)) {
      this.findings.add('unsent', `${deviceId} ${seq} has other data in the queue of the ${place}`);
    }
    if ((device.marks(seq) & mark) !== 0) {
      if (isOnce) this.findings.add('doubled', `${deviceId} ${seq} in the queue of the ${place}`);
      return;
    }
    device.mark(seq, mark);
    if (seq < device.lastSeen) {
      this.findings.add('disordered', `${deviceId} ${seq} after ${device.lastSeen} in the queue of the ${place}`);
    }
    device.lastSeen = Math.max(device.lastSeen, seq);
  }

  /** The device that has sent a record, and was not refused it. */
  #sender(deviceId: string, seq: number, where: string): DeviceRecords | undefined {
    const device = this.records.get(deviceId);
    if (device?.hasSent(seq) === true && (device.marks(seq) & Mark.refused) === 0) return device;
    this.findings.add('unsent', `${deviceId} ${seq} in ${where}`);
    return undefined;
  }

  #findLost(mark: number, where: string): void {
    for (const device of this.records.values()) {
      for (let seq = 1; seq <= device.acked; seq++) {
        const marks = device.marks(seq);
        if ((marks & (mark | Mark.refused)) === 0) this.findings.add('lost', `${device.id} ${seq} is not in ${where}`);
      }
    }
  }
}
