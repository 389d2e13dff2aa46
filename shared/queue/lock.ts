/**
 * One writer a queue: a lock that goes with its process, however that ends.
 *
 * Node offers neither flock nor fcntl locks, a pid file outlives a kill -9 and its pid comes back, and LMDB itself lets
 * any process write in turn. So the lock is a listening Unix socket in Linux's abstract namespace, named after the
 * directory's device and inode: nothing lies on disk, the kernel lets one process have the name and takes it back when
 * the process is gone. It is what makes a second `holdfast edge` on the same directory say so at once.
 *
 * It is also where a reader of another process asks the writer to commit nothing while it opens the file (visit.ts says why);
 * it has to show the queue's key for that (visitor-key.ts).
 *
 * It does not reach across network namespaces (two containers with one volume) and is not there outside Linux. What
 * keeps the queue whole even then is the fence in its file (fence.ts): the writer that was overtaken cannot commit.
 */
import { statSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { HoldfastError } from '../errors.js';
import { isVisitorKey, keepVisitorKey, VISITOR_KEY_BYTES } from './visitor-key.js';

/** The writer, as a visitor needs it. */
export interface Host {
  /** Lets no transaction begin until `over` settles. Resolves when none is under way. */
  hold(over: Promise<void>): Promise<void>;
}

/** What a visitor is told when no transaction is under way. */
export const WELCOME = Buffer.of(1);
/** A visitor that takes longer is cut off, and the writer goes on. */
export const VISIT_MS = 10_000;
/** A visitor that has not shown the key by then is sent away. */
const KEY_TIMEOUT_MS = 1_000;
const MAX_VISITORS = 16;

export class Lock {
  #host: Host | undefined;
  #visitorKey: Buffer = Buffer.alloc(0);

  private constructor(
    private readonly directory: string,
    private readonly server: Server | undefined,
  ) {
    server?.on('connection', (visitor) => this.#receive(visitor));
  }

  /** Where the lock of a directory is, in the abstract namespace. */
  static nameOf(directory: string): string {
    const { dev, ino } = statSync(directory, { bigint: true });
    return `\0holdfast-queue-${dev}-${ino}`;
  }

  /**
   * Takes the lock of a queue's directory.
   * @throws HoldfastError queue_locked (retry) where another writer has it
   */
  static take(directory: string): Lock {
    if (process.platform !== 'linux') return new Lock(directory, undefined);
    const server = createServer();
    server.maxConnections = MAX_VISITORS;
    // A name that is taken shows in `listening` before listen returns; the event that comes later says nothing more.
    server.on('error', () => undefined);
    server.listen({ path: Lock.nameOf(directory), exclusive: true });
    if (server.listening) return new Lock(directory, server.unref());
    throw lockedError(directory);
  }

  /** True where somebody, perhaps this process, writes the queue in a directory; where that cannot be known, too. */
  static isTaken(directory: string): boolean {
    if (process.platform !== 'linux') return true;
    try {
      Lock.take(directory).release();
      return false;
    } catch (error) {
      if (error instanceof HoldfastError) return true;
      throw error;
    }
  }

  /** Says who keeps still for visitors that show the key, which is kept from here on; those who came before come again. */
  welcome(host: Host): void {
    this.#visitorKey = keepVisitorKey(this.directory);
    this.#host = host;
  }

  release(): void {
    this.server?.close();
  }

  #receive(visitor: Socket): void {
    // That it is gone is what is waited for, however it went.
    visitor.on('error', () => undefined);
    const host = this.#host;
    if (host === undefined) {
      visitor.destroy();
      return;
    }
    const timer = setTimeout(() => visitor.destroy(), KEY_TIMEOUT_MS).unref();
    visitor.once('close', () => clearTimeout(timer));
    let shown: Buffer = Buffer.alloc(0);
    const look = (chunk: Buffer): void => {
      shown = Buffer.concat([shown, chunk]);
      if (shown.length < VISITOR_KEY_BYTES) return;
      visitor.off('data', look);
      clearTimeout(timer);
      if (isVisitorKey(shown, this.#visitorKey)) this.#keepStill(visitor, host);
      else visitor.destroy();
    };
    visitor.on('data', look);
  }

  #keepStill(visitor: Socket, host: Host): void {
    const timer = setTimeout(() => visitor.destroy(), VISIT_MS).unref();
    const over = new Promise<void>((resolve) => visitor.once('close', () => resolve()));
    void over.then(() => clearTimeout(timer));
    void host.hold(over).then(() => visitor.write(WELCOME));
    visitor.resume();
  }
}

/** The error for a queue that has a writer. */
export function lockedError(directory: string): HoldfastError {
  const message = `the queue in ${directory} is at work in another process; a queue has one writer`;
  return new HoldfastError('queue_locked', message, true);
}
