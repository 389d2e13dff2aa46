/** Batches made by hand, and a source that delivers them: what storage sees of a router. */
import { BatchBuilder, Kind, stampBatch } from '../../shared/batch.js';
import type { Delivery, DeliverySource } from '../../shared/consumer.js';
import type { Position } from '../../shared/position.js';

/** A record as a test writes it. */
export interface TestRecord {
  readonly kind?: Kind;
  readonly device: string;
  readonly seq: number;
  readonly timeMs: number;
  readonly receivedMs?: number;
  /** JSON text, or any bytes. */
  readonly payload: string | Buffer;
}

/** One batch of the records, stamped as a queue stamps it. */
export function makeBatch(position: Position, records: readonly TestRecord[]): Buffer {
  const builder = new BatchBuilder();
  for (const { kind = Kind.telemetry, device, seq, timeMs, receivedMs = timeMs, payload } of records) {
    const bytes = Buffer.from(payload);
    const id = Buffer.from(device, 'latin1');
    if (!builder.add(kind, id, seq, timeMs, receivedMs, bytes, 0, bytes.length)) throw new Error('the batch is full');
  }
  const batch = Buffer.from(builder.build());
  stampBatch(batch, position, 0);
  return batch;
}

/** Delivers what is pushed, in order, one delivery a read; notes what is acked. */
export class MemorySource implements DeliverySource {
  readonly acked: Position[] = [];
  readonly #deliveries: Delivery[] = [];
  readonly #ackWaiters: { position: Position; resolve: () => void }[] = [];
  #reader: ((delivery: Delivery | undefined) => void) | undefined;
  #closed = false;

  constructor(readonly queueId: string) {}

  /** Delivers batches together. */
  push(...batches: Buffer[]): void {
    const last = batches.at(-1)!;
    const through = { epoch: last.readDoubleLE(16), offset: last.readDoubleLE(24) };
    this.#deliveries.push({ queueId: this.queueId, batches, through });
    this.#serve();
  }

  read(): Promise<Delivery | undefined> {
    return new Promise((resolve) => {
      this.#reader = resolve;
      this.#serve();
    });
  }

  ack(_queueId: string, position: Position): void {
    this.acked.push(position);
    for (const waiter of this.#ackWaiters) if (waiter.position.offset <= position.offset) waiter.resolve();
  }

  /** Resolves once everything through the offset is acked. */
  untilAcked(offset: number): Promise<void> {
    if (this.acked.some((position) => position.offset >= offset)) return Promise.resolve();
    return new Promise((resolve) => {
      this.#ackWaiters.push({ position: { epoch: 0, offset }, resolve });
    });
  }

  close(): void {
    this.#closed = true;
    this.#serve();
  }

  #serve(): void {
    const reader = this.#reader;
    if (reader === undefined || (this.#deliveries.length === 0 && !this.#closed)) return;
    this.#reader = undefined;
    reader(this.#deliveries.shift());
  }
}
