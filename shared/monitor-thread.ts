/** The thread's side of a monitor: its reader, the queue's head as the writer commits, and what it tells the writer. */
import { parentPort, workerData } from 'node:worker_threads';
import { comparePositions, type Position } from './position.js';
import { QueueReader } from './queue/reader.js';
import type { FromThread, ThreadData, ToThread } from './monitor.js';
import { Signal } from './signal.js';

export class MonitorThread<T> {
  readonly #reader: QueueReader;
  #head: Position;
  #stopped = false;

  /** Fires at a new head and at stop. */
  readonly wake = new Signal();

  constructor(private readonly data: ThreadData<T>) {
    this.#reader = QueueReader.open(data.queuePath);
    this.#head = data.head;
  }

  get settings(): T {
    return this.data.settings;
  }

  get queueId(): string {
    return this.data.queueId;
  }

  /** The last batch that was on disk when the writer last said so. */
  get head(): Position {
    return this.#head;
  }

  /** Where the queue was released through when the thread started. */
  get released(): Position {
    return this.data.released;
  }

  get stopped(): boolean {
    return this.#stopped;
  }

  /** The batches after a position; damaged ones are passed over and reported. See QueueReader.peek. */
  peek(after: Position, maxBytes: number): { readonly batches: readonly Buffer[]; readonly through: Position } {
    if (comparePositions(after, this.#head) >= 0) return { batches: [], through: after };
    const peek = this.#reader.peek(after, maxBytes, this.#head);
    if (peek.damaged.length > 0) post({ type: 'damaged', positions: peek.damaged });
    return peek;
  }

  /** Tells the writer that the next hop holds everything through `through`. */
  release(through: Position): void {
    post({ type: 'released', through });
  }

  /** Tells the process numbers for its metrics and readiness. */
  report(values: Readonly<Record<string, number>>): void {
    post({ type: 'report', values });
  }

  receive(message: ToThread): void {
    if (message.type === 'head') this.#head = message.head;
    else this.#stopped = true;
    this.wake.fire();
  }

  async close(): Promise<void> {
    await this.#reader.close();
  }
}

/**
 * Runs `work` in a monitor thread until it returns, which it must do soon after `thread.stopped` turned true.
 * Whatever it throws ends the thread, and with it the process.
 */
export async function runMonitorThread<T>(work: (thread: MonitorThread<T>) => Promise<void>): Promise<void> {
  const data = workerData as ThreadData<T>;
  const thread = new MonitorThread<T>(data);
  // Of the thread: nothing is left in its event loop, also not what ZeroMQ says of a socket that was closed.
  process.once('exit', () => {
    Atomics.store(data.ended, 0, 1);
    Atomics.notify(data.ended, 0);
  });
  parentPort!.on('message', (message: ToThread) => thread.receive(message));
  post({ type: 'ready' });
  try {
    await work(thread);
  } finally {
    await thread.close();
    parentPort!.close();
  }
}

function post(message: FromThread): void {
  parentPort!.postMessage(message);
}
