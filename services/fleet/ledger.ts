/**
 * What a fleet was acked, compactly: all of a device's records through one seq, but for ranges of exceptions. Exceptions are
 * records that the edge refused, or that the device gave up because its buffer was full.
 */

/** Seqs from first to last, both in it. */
export interface SeqRange {
  readonly first: number;
  readonly last: number;
}

/** One device's. */
export class DeviceLedger {
  /** Every record through this seq is acked, but the exceptions. */
  ackedThrough = 0;
  /** In rising order, apart from each other. */
  #exceptions: { first: number; last: number }[] = [];

  /** Takes a record out: it was not acked. */
  except(seq: number): void {
    const after = this.#exceptions.findIndex(({ last }) => last + 1 >= seq);
    const range = this.#exceptions[after];
    if (range === undefined) {
      this.#exceptions.push({ first: seq, last: seq });
    } else if (range.last + 1 === seq) {
      range.last = seq;
      const next = this.#exceptions[after + 1];
      if (next?.first === seq + 1) this.#exceptions.splice(after, 2, { first: range.first, last: next.last });
    } else if (range.first === seq + 1) {
      range.first = seq;
    } else if (seq < range.first) {
      this.#exceptions.splice(after, 0, { first: seq, last: seq });
    }
  }

  /** How many exceptions there are among the seqs from first to last. */
  exceptions(first: number, last: number): number {
    let count = 0;
    for (const range of this.#exceptions) {
      count += Math.max(0, Math.min(last, range.last) - Math.max(first, range.first) + 1);
    }
    return count;
  }

  /** The acked seqs as ranges, in rising order. */
  acked(): SeqRange[] {
    const ranges: SeqRange[] = [];
    let first = 1;
    for (const exception of this.#exceptions) {
      if (exception.first > this.ackedThrough) break;
      if (exception.first > first) ranges.push({ first, last: exception.first - 1 });
      first = exception.last + 1;
    }
    if (first <= this.ackedThrough) ranges.push({ first, last: this.ackedThrough });
    return ranges;
  }
}

/** A fleet's ledger: for each range of acked records one place in each array. */
export interface Ledger {
  /** Number of the device within the fleet. */
  readonly devices: readonly number[];
  readonly firsts: readonly number[];
  readonly lasts: readonly number[];
}

/** @param entries device numbers and their ledgers */
export function makeLedger(entries: Iterable<readonly [number, DeviceLedger]>): Ledger {
  const ledger = { devices: [] as number[], firsts: [] as number[], lasts: [] as number[] };
  for (const [device, own] of entries) {
    for (const { first, last } of own.acked()) {
      ledger.devices.push(device);
      ledger.firsts.push(first);
      ledger.lasts.push(last);
    }
  }
  return ledger;
}

export function joinLedgers(ledgers: readonly Ledger[]): Ledger {
  return {
    devices: ledgers.flatMap(({ devices }) => devices),
    firsts: ledgers.flatMap(({ firsts }) => firsts),
    lasts: ledgers.flatMap(({ lasts }) => lasts),
  };
}

/** How many records a ledger names. */
export function ackedRecords({ firsts, lasts }: Ledger): number {
  return firsts.reduce((sum, first, index) => sum + lasts[index]! - first + 1, 0);
}
