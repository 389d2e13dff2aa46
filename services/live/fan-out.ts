/**
 * Batches in, messages out: each wanted record is made into one message, whoever wants it, and each client gets what is
 * its own of a batch in one write.
 *
 * Batches wait, bounded, while the context of devices that were not met before is loaded; order is kept. What comes beyond
 * the bound is lost and counted, as is what the router's PUB let go: live is best effort.
 */
import { Kind, RecordCursor, recordCount } from '../../shared/batch.js';
import type { Position } from '../../shared/position.js';
import type { Client } from './client.js';
import type { LiveContext } from './context.js';
import { buildMessage } from './message.js';
import type { LiveMetrics } from './metrics.js';
import type { Subscriptions } from './subscriptions.js';

const MAX_WAITING_BYTES = 16 * 1024 * 1024;

export class FanOut {
  readonly #waiting: Buffer[] = [];
  #waitingBytes = 0;
  #running = false;
  #records = 0;
  #last: Position | undefined;

  constructor(
    private readonly subscriptions: Subscriptions,
    private readonly context: LiveContext,
    private readonly metrics: LiveMetrics,
    private readonly onFailure: (error: unknown) => void,
  ) {}

  /** Takes a checked batch that the router published. */
  take(batch: Buffer, position: Position): void {
    this.metrics.recordsIn.inc(recordCount(batch));
    // A router that was opened anew counts on, but how many came between is not known.
    if (position.epoch === this.#last?.epoch) this.#countLost(position.offset - this.#last.offset - 1);
    this.#last = position;
    if (this.subscriptions.isEmpty) return;
    if (this.#waitingBytes + batch.length > MAX_WAITING_BYTES) {
      this.#countLost(1);
      return;
    }
    this.#waiting.push(batch);
    this.#waitingBytes += batch.length;
    if (!this.#running) this.#run().catch(this.onFailure);
  }

  /** Takes note of how far the router has published. */
  takeHead(published: Position): void {
    if (published.epoch === this.#last?.epoch) this.#countLost(published.offset - this.#last.offset);
    if (published.epoch !== this.#last?.epoch || published.offset > this.#last.offset) this.#last = published;
  }

  #countLost(batches: number): void {
    if (batches > 0) this.metrics.lostBatches.inc(batches);
  }

  async #run(): Promise<void> {
    this.#running = true;
    try {
      for (let batch = this.#waiting.shift(); batch !== undefined; batch = this.#waiting.shift()) {
        this.#waitingBytes -= batch.length;
        if (this.context.enabled) await this.context.prepare(this.#devicesOf(batch));
        this.#deliver(batch);
      }
    } finally {
      this.#running = false;
    }
  }

  /** The devices whose context the batch takes. */
  #devicesOf(batch: Buffer): ReadonlySet<string> {
    const everyone = this.subscriptions.needsContext;
    const ids = new Set<string>();
    const record = new RecordCursor(batch);
    while (record.next()) {
      const { deviceId } = record;
      if (everyone || this.subscriptions.namesDevice(deviceId)) ids.add(deviceId);
    }
    return ids;
  }

  #deliver(batch: Buffer): void {
    const touched: Client[] = [];
    const record = new RecordCursor(batch);
    while (record.next()) if (record.kind === Kind.telemetry) this.#address(record, touched);
    for (const client of touched) client.flush();
  }

  #address(record: RecordCursor, touched: Client[]): void {
    const number = ++this.#records;
    const { deviceId } = record;
    const context = this.context.get(deviceId);
    let message: Buffer | undefined;
    let skipped = false;
    this.subscriptions.visit(deviceId, context, (clients) => {
      if (skipped) return;
      message ??= buildMessage(record, deviceId, context);
      if (message === undefined) {
        skipped = true;
        this.metrics.skipped.inc();
        return;
      }
      for (const client of clients) {
        if (client.lastRecord === number) continue;
        client.lastRecord = number;
        if (!client.hasMail) touched.push(client);
        client.put(message);
      }
    });
  }
}
