/**
 * A merge: the batches that go into the database in one transaction; and the reader that puts them together from what
 * the router delivers, up to so many rows or bytes or until the first of them has waited long enough.
 */
import { recordCount, readBatchHeader } from '../../shared/batch.js';
import type { Delivery, DeliverySource } from '../../shared/consumer.js';
import { comparePositions, type Position } from '../../shared/position.js';

/** How much is asked for at once: little enough that a merge does not go far over its limits. */
const READ_BYTES = 2 * 1_024 * 1_024;

export interface Merge {
  readonly queueId: string;
  readonly batches: readonly Buffer[];
  readonly through: Position;
  /** Records of all kinds. */
  readonly records: number;
}

export interface MergeLimits {
  readonly rows: number;
  readonly bytes: number;
  readonly waitMs: number;
}

export class MergeReader {
  #pending: Promise<Delivery | undefined> | undefined;
  readonly #last = new Map<string, Position>();

  /** @param stored the position of a queue that is known to be stored: batches up to it are left out */
  constructor(
    private readonly source: DeliverySource,
    private readonly limits: MergeLimits,
    private readonly stored: (queueId: string) => Position | undefined,
  ) {}

  /** @returns undefined once the source was stopped */
  async next(): Promise<Merge | undefined> {
    for (;;) {
      const first = await this.#read();
      if (first === undefined) return undefined;
      this.#pending = undefined;
      const merge = new OpenMerge(first.queueId);
      this.#add(merge, first);
      await this.#fill(merge);
      if (merge.through !== undefined) return merge.close(merge.through);
    }
  }

  async #fill(merge: OpenMerge): Promise<void> {
    const deadline = performance.now() + this.limits.waitMs;
    while (merge.records < this.limits.rows && merge.bytes < this.limits.bytes) {
      const more = await this.#readUntil(deadline);
      if (more?.queueId !== merge.queueId) return; // too late, the end, or the first of the next merge
      this.#pending = undefined;
      this.#add(merge, more);
    }
  }

  /** The delivery that is under way: one that came too late for a merge is the next one's first. */
  #read(): Promise<Delivery | undefined> {
    this.#pending ??= this.source.read(READ_BYTES);
    return this.#pending;
  }

  async #readUntil(deadline: number): Promise<Delivery | undefined> {
    let timer: NodeJS.Timeout | undefined;
    const tooLate = new Promise<undefined>((resolve) => {
      timer = setTimeout(() => resolve(undefined), Math.max(0, deadline - performance.now()));
    });
    try {
      return await Promise.race([this.#read(), tooLate]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Leaves out what came before: after a reconnect the router may deliver again what is still on its way here. */
  #add(merge: OpenMerge, { queueId, batches }: Delivery): void {
    for (const batch of batches) {
      const { position } = readBatchHeader(batch);
      const last = this.#last.get(queueId) ?? this.stored(queueId);
      if (last !== undefined && comparePositions(position, last) <= 0) continue;
      this.#last.set(queueId, position);
      merge.add(batch, position);
    }
  }
}

class OpenMerge {
  readonly #batches: Buffer[] = [];
  through: Position | undefined;
  records = 0;
  bytes = 0;

  constructor(readonly queueId: string) {}

  add(batch: Buffer, position: Position): void {
    this.#batches.push(batch);
    this.through = position;
    this.records += recordCount(batch);
    this.bytes += batch.length;
  }

  close(through: Position): Merge {
    return { queueId: this.queueId, batches: this.#batches, through, records: this.records };
  }
}
