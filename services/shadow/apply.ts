/**
 * Records become changes of things: the loop that reads from the router and applies batch after batch.
 *
 *   telemetry        the thing's latest            report    the reported section of its classic shadow
 *   online, offline  whether it is connected       result    the end of a command
 *
 * A batch is one step: whatever it needs is brought into memory first, and then all of it is applied at once, with its
 * position. A record that cannot be applied (a report that is no object or makes the document too large, a result for no
 * command that is known) changes nothing and is counted; it is a row of the table all the same.
 */
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { Kind, readBatchHeader, RECORD_HEADER_BYTES, RecordCursor } from '../../shared/batch.js';
import type { Delivery, DeliverySource } from '../../shared/delivery.js';
import { HoldfastError, messageOf } from '../../shared/errors.js';
import type { Part } from '../../shared/lifecycle.js';
import type { Logger } from '../../shared/log.js';
import { comparePositions, START } from '../../shared/position.js';
import { StateLog } from '../../shared/state-log.js';
import type { Slot } from './hot.js';
import { isJsonObject } from './json.js';
import { NO_ROW } from './report-rows.js';
import { RequestError } from './request-error.js';
import { readResult, type Results } from './results.js';
import { RowFinder } from './row-finder.js';
import type { DocumentLimits, Thing } from './thing.js';
import type { Things } from './things.js';

export interface ApplyOptions {
  readonly source: DeliverySource;
  readonly things: Things;
  readonly results: Results;
  readonly limits: DocumentLimits;
  readonly log: Logger;
  readonly onFailure: (error: unknown) => void;
}

const READ_BYTES = 1024 * 1024;
const RETRY_MS = 200;
/** Where a record's header holds the length of the id that follows it: at 5 of 32 bytes. */
const ID_LENGTH_BEFORE_ID = RECORD_HEADER_BYTES - 5;

interface Needs {
  /** For each record of a batch, in their order: the row that takes it, or NO_ROW. */
  readonly rows: Int32Array;
  /** And its thing, where it has no row and all are in memory. */
  readonly slots: (Slot<Thing> | undefined)[];
  /** What the batch needs in memory and is not there. */
  readonly things: Set<string>;
  readonly commands: Set<string>;
  /** Whether things may go on referring to the batch. */
  hasTelemetry: boolean;
}

export class Apply implements Part {
  readonly name = 'apply';
  readonly #state: StateLog;
  readonly #finder: RowFinder;
  #through = START;
  #queueId = '';
  #stopped = false;

  constructor(private readonly options: ApplyOptions) {
    this.#state = new StateLog(options.log, 'applying');
    this.#finder = new RowFinder(options.things.rows);
  }

  start(): Promise<void> {
    this.#work().catch((error: unknown) => {
      if (!this.#stopped) this.options.onFailure(error);
    });
    return Promise.resolve();
  }

  stop(): Promise<void> {
    this.#stopped = true;
    return Promise.resolve();
  }

  async #work(): Promise<void> {
    for (;;) {
      const delivery = await this.#read();
      if (delivery === undefined) return;
      if (delivery.queueId !== this.#queueId) this.#through = START;
      this.#queueId = delivery.queueId;
      for (const batch of delivery.batches) {
        // Applying is synchronous: the sockets and timers have their turn between two batches.
        await nextTurn();
        await this.options.things.room();
        if (this.#stopped) return;
        await this.#takeBatch(batch);
      }
    }
  }

  async #read(): Promise<Delivery | undefined> {
    const { source, things } = this.options;
    // What is there already is handed out in this turn of the event loop.
    const idle = setImmediate(() => things.setBehind(false));
    const delivery = await source.read(READ_BYTES);
    clearImmediate(idle);
    things.setBehind(true);
    return delivery;
  }

  /** Applies a batch, once the store has brought what it needs. */
  async #takeBatch(batch: Buffer): Promise<void> {
    const { things } = this.options;
    const { position } = readBatchHeader(batch);
    if (comparePositions(position, this.#through) <= 0) return;
    let needs = this.#needs(batch);
    while (needs.things.size > 0 || needs.commands.size > 0 || things.isEncoding) {
      if (!(await this.#fetch([...needs.things], [...needs.commands]))) return;
      needs = this.#needs(batch);
    }
    const oldestMs = this.#apply(batch, needs);
    this.#through = position;
    // Reports are read at once; telemetry is left where it is until it is written.
    things.applied(position, needs.hasTelemetry ? batch.length : 0, oldestMs);
  }

  #needs(batch: Buffer): Needs {
    const { things } = this.options;
    const rows = this.#finder.find(batch);
    const needs: Needs = { rows, slots: [], things: new Set(), commands: new Set(), hasTelemetry: false };
    const cursor = new RecordCursor(batch);
    let last: Slot<Thing> | undefined;
    let lastStart = 0;
    while (cursor.next()) {
      const { deviceIdStart: start, payloadStart: end } = cursor;
      const hasRow = cursor.kind === Kind.report && rows[needs.slots.length] !== NO_ROW;
      // A device that empties its buffer sends many in a row.
      if (!hasRow && (last === undefined || !isSame(batch, lastStart, start, end - start))) {
        const id = cursor.deviceId;
        last = things.find(id);
        lastStart = start;
        if (last === undefined) needs.things.add(id);
      }
      needs.slots.push(hasRow ? undefined : last);
      if (cursor.kind === Kind.telemetry) needs.hasTelemetry = true;
      if (cursor.kind !== Kind.result) continue;
      const result = readResult(parse(batch, cursor));
      if (result !== undefined && things.peekCommand(result.id) === undefined) needs.commands.add(result.id);
    }
    return needs;
  }

  /** @returns false where shadow stopped before the store was there */
  async #fetch(ids: readonly string[], commandIds: readonly string[]): Promise<boolean> {
    while (!this.#stopped) {
      try {
        await this.options.things.inMemory(ids, commandIds);
        this.#state.enter('applying', 'info', {}, 'records are applied again');
        return true;
      } catch (error) {
        if (!(error instanceof HoldfastError && error.retry)) throw error;
        const reason = messageOf(error);
        this.#state.enter('waiting', 'warn', { reason }, 'records wait for the store');
        await sleep(RETRY_MS);
      }
    }
    return false;
  }

  /** @returns when the oldest of the records came to an edge */
  #apply(batch: Buffer, { rows, slots }: Needs): number {
    const { things } = this.options;
    const cursor = new RecordCursor(batch);
    let oldestMs = Number.POSITIVE_INFINITY;
    for (let index = 0; cursor.next(); index++) {
      const { receivedMs, payloadStart, payloadEnd } = cursor;
      const timeMs = Math.min(cursor.timeMs, receivedMs);
      if (receivedMs < oldestMs) oldestMs = receivedMs;
      const row = cursor.kind === Kind.report ? rows[index]! : NO_ROW;
      if (row !== NO_ROW && things.rows.put(row, batch, payloadStart, payloadEnd, timeMs)) continue;
      // What has a row is about to be written, and therefore in memory.
      const slot = slots[index] ?? things.find(cursor.deviceId)!;
      this.#applyRecord(slot, batch, cursor, timeMs);
    }
    things.metrics.recordsIn.inc(slots.length);
    return oldestMs;
  }

  /** @param timeMs of the record; never after its arrival: a clock that runs years ahead must not block what comes later */
  #applyRecord(slot: Slot<Thing>, batch: Buffer, cursor: RecordCursor, timeMs: number): void {
    const { things } = this.options;
    const { value: thing } = slot;
    switch (cursor.kind) {
      case Kind.telemetry:
        thing.applyTelemetry(batch, cursor.payloadStart, cursor.payloadEnd, timeMs, cursor.timeMs, cursor.seq);
        things.touch(slot, false);
        break;
      case Kind.report:
        if (this.#takeReport(thing, batch, cursor, timeMs)) things.touch(slot, true);
        else this.#applyReport(slot, parse(batch, cursor), timeMs);
        break;
      case Kind.result:
        this.#applyResult(slot, parse(batch, cursor), timeMs);
        break;
      case Kind.online:
      case Kind.offline:
        thing.applyPresence(cursor.kind === Kind.online, timeMs, sessionOf(parse(batch, cursor)));
        things.touch(slot, false);
        break;
      default:
        this.#reject('unknown_kind');
    }
  }

  #takeReport(thing: Thing, batch: Buffer, cursor: RecordCursor, timeMs: number): boolean {
    const { things, limits } = this.options;
    const { deviceIdStart, payloadStart, payloadEnd } = cursor;
    return thing.takeReport(things.rows, batch, deviceIdStart, payloadStart, payloadEnd, timeMs, limits);
  }

  #applyReport(slot: Slot<Thing>, report: unknown, timeMs: number): void {
    if (report !== null && !isJsonObject(report)) {
      this.#reject('bad_report');
      return;
    }
    try {
      if (slot.value.applyReport(report, timeMs, this.options.limits)) this.options.things.touch(slot, true);
      else this.#reject('older');
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      this.#reject(error.status === 413 ? 'too_large' : 'bad_report');
    }
  }

  #applyResult(slot: Slot<Thing>, payload: unknown, timeMs: number): void {
    const { things, results } = this.options;
    const result = readResult(payload);
    if (result === undefined) {
      this.#reject('bad_result');
      return;
    }
    const { value: thing } = slot;
    const { revision } = thing;
    const value = things.peekCommand(result.id);
    const refusal = results.applyResult(thing, value?.value, result, timeMs, (command) => things.put(command));
    if (refusal !== undefined) this.#reject(refusal);
    if (thing.revision !== revision) things.touch(slot, true);
  }

  #reject(reason: string): void {
    this.options.things.metrics.rejected.inc({ reason });
  }
}

/** The payload's JSON; undefined where it is none (binary payloads are opaque to the edge). */
function parse(batch: Buffer, cursor: RecordCursor): unknown {
  try {
    return JSON.parse(batch.toString('utf8', cursor.payloadStart, cursor.payloadEnd)) as unknown;
  } catch {
    // What is no JSON is counted by the caller, and kept in dead_letters by storage.
    return undefined;
  }
}

/**
 * True where a device's id that begins at `a` is that of `length` bytes at `b`; compared from the end, because ids of
 * a fleet begin alike.
 */
function isSame(batch: Buffer, a: number, b: number, length: number): boolean {
  if (batch[a - ID_LENGTH_BEFORE_ID] !== length) return false;
  for (let index = length - 1; index >= 0; index--) {
    if (batch[a + index] !== batch[b + index]) return false;
  }
  return true;
}

function sessionOf(payload: unknown): string | undefined {
  const session = isJsonObject(payload) ? payload['session'] : undefined;
  return typeof session === 'string' ? session : undefined;
}
