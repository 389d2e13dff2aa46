/**
 * A monitor: the worker thread that takes what a queue holds to the next hop, peek → send → wait for the ack → release.
 * One class, used by edge and router; the thread's own side is MonitorThread.
 *
 * The thread reads the queue itself (LMDB allows readers beside the writer) and only says what it has done; the writer
 * alone releases and sets aside, so the queue keeps one writer. A thread that dies takes the process with it: a process
 * that acks but no longer forwards would look healthy.
 */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { Part } from './lifecycle.js';
import type { Position } from './position.js';
import type { Queue } from './queue/queue.js';

/** What the process tells its monitor thread. */
export type ToThread = { readonly type: 'head'; readonly head: Position } | { readonly type: 'stop' };

/** What a monitor thread tells its process. */
export type FromThread =
  | { readonly type: 'ready' }
  | { readonly type: 'released'; readonly through: Position }
  | { readonly type: 'damaged'; readonly positions: readonly Position[] }
  | { readonly type: 'report'; readonly values: Readonly<Record<string, number>> };

/** What a thread is started with. */
export interface ThreadData<T> {
  readonly queuePath: string;
  readonly queueId: string;
  readonly head: Position;
  readonly released: Position;
  readonly settings: T;
  /** Becomes 1 when nothing of the thread runs any more. */
  readonly ended: Int32Array;
}

export interface MonitorOptions<T> {
  readonly name: string;
  /** The thread's script, which runs runMonitorThread. */
  readonly script: URL;
  readonly queue: Queue;
  readonly settings: T;
  /** Numbers that the thread reports, by name. */
  readonly onReport: (values: Readonly<Record<string, number>>) => void;
  /** The thread died: the process must end. */
  readonly onFailure: (error: Error) => void;
}

/** How long the end of the process waits for the thread. */
const END_TIMEOUT_MS = 1_500;

export class Monitor<T> implements Part {
  readonly name: string;
  readonly #ended = new Int32Array(new SharedArrayBuffer(4));
  #worker: Worker | undefined;
  #stopping = false;

  constructor(private readonly options: MonitorOptions<T>) {
    this.name = options.name;
  }

  /** Starts the thread and waits until it has opened the queue. */
  async start(): Promise<void> {
    const { queue, script, settings, onFailure } = this.options;
    const data: ThreadData<T> = {
      queuePath: queue.path,
      queueId: queue.id,
      head: queue.head,
      released: queue.released,
      settings,
      ended: this.#ended,
    };
    const worker = new Worker(script, { workerData: data, name: this.name });
    this.#worker = worker;
    process.once('exit', this.#endWithProcess);
    const ready = once(worker, 'message');
    worker.on('message', (message: FromThread) => this.#receive(message));
    worker.on('error', onFailure);
    worker.on('exit', (code) => {
      this.#worker = undefined;
      process.off('exit', this.#endWithProcess);
      if (!this.#stopping) onFailure(new Error(`the ${this.name} thread ended by itself with code ${code}`));
    });
    await ready;
    queue.onAppend((head) => this.#tell({ type: 'head', head }));
    // What was appended while the thread started.
    this.#tell({ type: 'head', head: queue.head });
  }

  /** Lets the thread finish what it is sending and waits for its end. */
  async stop(): Promise<void> {
    this.#stopping = true;
    const worker = this.#worker;
    if (worker === undefined) return;
    const ended = once(worker, 'exit');
    this.#tell({ type: 'stop' });
    await ended;
  }

  /**
   * A process that exits after a failure would cut the thread off in the middle: Node ends its JavaScript, and the binding of
   * ZeroMQ, called back then, aborts the process with SIGABRT in place of its exit code. So the thread ends first.
   */
  readonly #endWithProcess = (): void => {
    this.#stopping = true;
    this.#tell({ type: 'stop' });
    Atomics.wait(this.#ended, 0, 0, END_TIMEOUT_MS);
  };

  #tell(message: ToThread): void {
    this.#worker?.postMessage(message);
  }

  #receive(message: FromThread): void {
    switch (message.type) {
      case 'ready':
        return;
      case 'released':
        this.options.queue.release(message.through);
        return;
      case 'damaged':
        for (const position of message.positions) this.options.queue.quarantine(position);
        return;
      case 'report':
        this.options.onReport(message.values);
    }
  }
}
