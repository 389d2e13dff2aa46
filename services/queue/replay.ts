/**
 * `holdfast queue replay DIR --to ENDPOINT`: sends the queue of a dead edge into a running router, as that edge would have.
 *
 * The router knows a queue by its id and stores each of its positions once, so that running it again, or after the edge had
 * sent a part itself, stores nothing twice. The queue's lock keeps the edge itself from running beside it; an edge on another
 * machine that has the same file is stopped by the fence with the first thing that is released.
 *
 * What the router has acked is released at the end; the bytes stay until a service opens the queue or it is dropped, so that a
 * replay into the wrong router can be done again into the right one. With `keep` nothing is written at all.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { HoldfastError } from '../../shared/errors.js';
import { comparePositions, formatPosition, START, type Position } from '../../shared/position.js';
import type { Queue } from '../../shared/queue/queue.js';
import type { Lock } from '../../shared/queue/lock.js';
import type { QueueReader } from '../../shared/queue/reader.js';
import { openLocked, openToChange } from './opening.js';
import type { Progress } from './progress.js';
import { Uplink, type Source } from './uplink.js';
import { bytesIn } from './verify.js';

export interface ReplayOptions {
  readonly path: string;
  /** The router's intake, a ZeroMQ endpoint. */
  readonly router: string;
  readonly shard: string;
  /** True: nothing is released. */
  readonly keep: boolean;
  /** How long the router may take nothing. */
  readonly timeoutMs: number;
  readonly makeProgress: (totalBytes: number) => Progress;
}

export interface Replay {
  readonly path: string;
  readonly queueId: string;
  readonly router: string;
  readonly head: string;
  /** What the router held of this queue before; 0:0 where it had never heard of it. */
  readonly heldBefore: string;
  /** What it holds now. */
  readonly held: string;
  readonly sent: { batches: number; records: number; bytes: number };
  /** Through where this queue is released now. */
  readonly released: string;
  /** Batches that failed their checksum: they were not sent. */
  readonly damaged: readonly string[];
  /** True where the router holds more than this queue has: a later copy of it was sent before. Nothing is released then. */
  readonly older: boolean;
}

const BACKOFF_MS = 500;

/**
 * Sends until the router holds all of it.
 * @throws HoldfastError queue_unreadable, queue_locked; link_refused where the router does not take it; link_closed (retry)
 *   where it took nothing for too long: what it has taken is released all the same
 */
export async function replayQueue(options: ReplayOptions): Promise<Replay> {
  const { path, keep } = options;
  if (keep) {
    const { reader, lock } = openLocked(path);
    try {
      return await new Replayer(options, readerSource(path, reader), reader, undefined).run();
    } finally {
      await closeAll(reader, lock);
    }
  }
  const { queue, reader } = openToChange(path);
  try {
    return await new Replayer(options, queue, reader, queue).run();
  } finally {
    await reader.close();
    await queue.close();
  }
}

/** A replay as lines for people. */
export function describeReplay(replay: Replay): string {
  const { sent, damaged, heldBefore, held, head } = replay;
  const lines = [
    `sent ${sent.records} records in ${sent.batches} batches, ${sent.bytes} bytes, to ${replay.router}`,
    `the router held this queue through ${heldBefore} before, through ${held} now; its head is ${head}`,
    `released through ${replay.released}`,
    ...damaged.map((position) => `not sent: ${position}, its checksum does not match its bytes`),
  ];
  if (replay.older) {
    lines.push('the router holds more than is here: a later copy of this queue was sent before; nothing was released');
  }
  return `${lines.join('\n')}\n`;
}

class Replayer {
  readonly #sent = { batches: 0, records: 0, bytes: 0 };
  readonly #damaged = new Set<string>();
  #progress: Progress | undefined;
  #heldBefore: Position | undefined;
  #held = START;
  #movedMs = Date.now();

  constructor(
    private readonly options: ReplayOptions,
    private readonly source: Source,
    private readonly reader: QueueReader,
    private readonly queue: Queue | undefined,
  ) {}

  async run(): Promise<Replay> {
    try {
      await this.#sendAll();
    } finally {
      this.#progress?.finish();
      this.#release();
    }
    const { path, router } = this.options;
    const { id: queueId, head } = this.source;
    return {
      path,
      queueId,
      router,
      head: formatPosition(head),
      heldBefore: formatPosition(this.#heldBefore ?? START),
      held: formatPosition(this.#held),
      sent: this.#sent,
      released: formatPosition(this.queue?.released ?? this.reader.position('released') ?? START),
      damaged: [...this.#damaged],
      older: this.#isOlder,
    };
  }

  async #sendAll(): Promise<void> {
    const { router, shard, timeoutMs } = this.options;
    for (;;) {
      const stuck = new AbortController();
      const watch = setInterval(() => {
        if (Date.now() - this.#movedMs > timeoutMs) stuck.abort();
      }, BACKOFF_MS);
      const uplink = new Uplink({
        router,
        shard,
        source: this.source,
        onStanding: ({ stored, creditBytes }) => this.#hear(stored, creditBytes),
        onSent: (records, bytes) => this.#countSent(records, bytes),
        onDamaged: (position) => this.#damaged.add(formatPosition(position)),
      });
      const ended = await uplink.run(stuck.signal).finally(() => clearInterval(watch));
      if (ended === undefined) return;
      if (stuck.signal.aborted || Date.now() - this.#movedMs > timeoutMs) throw this.#gaveUp(ended);
      this.#progress?.tell(ended);
      await sleep(BACKOFF_MS);
    }
  }

  #hear(stored: Position, creditBytes: number): void {
    if (this.#heldBefore === undefined || comparePositions(stored, this.#held) > 0) this.#movedMs = Date.now();
    this.#heldBefore ??= stored;
    this.#held = stored;
    this.#progress ??= this.options.makeProgress(bytesIn(this.reader, stored));
    this.#progress.tell(creditBytes === 0 ? 'the router is at its quota' : '');
  }

  #countSent(records: number, bytes: number): void {
    this.#sent.batches++;
    this.#sent.records += records;
    this.#sent.bytes += bytes;
    this.#progress?.advance(bytes);
  }

  /** What came after this copy was made is not here: whether the router holds all of this one cannot be told. */
  get #isOlder(): boolean {
    return comparePositions(this.#held, this.source.head) > 0;
  }

  #release(): void {
    if (!this.#isOlder) this.queue?.release(this.#held);
  }

  #gaveUp(reason: string): HoldfastError {
    const { router, timeoutMs } = this.options;
    const held = formatPosition(this.#held);
    const why = this.#heldBefore === undefined ? 'it never answered' : `it holds this queue through ${held}`;
    const message = `the router at ${router} took nothing for ${timeoutMs} ms (${reason}); ${why}; run it again to go on`;
    return new HoldfastError('link_closed', message, true);
  }
}

function readerSource(path: string, reader: QueueReader): Source {
  const { id, head } = reader;
  if (id === undefined) throw new HoldfastError('queue_unreadable', `the queue in ${path} has no id`, false);
  return { id, head, peek: (after, maxBytes) => reader.peek(after, maxBytes, head) };
}

async function closeAll(reader: QueueReader, lock: Lock): Promise<void> {
  await reader.close();
  lock.release();
}
