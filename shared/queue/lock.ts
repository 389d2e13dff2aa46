/**
 * One writer a queue: a lock that goes with its process, however that ends.
 *
 * Node offers neither flock nor fcntl locks, a pid file outlives a kill -9 and its pid comes back, and LMDB itself lets
 * any process write in turn. So the lock is a listening Unix socket in Linux's abstract namespace, named after the
 * directory's device and inode: nothing lies on disk, the kernel lets one process have the name and takes it back when
 * the process is gone. It is what makes a second `holdfast edge` on the same directory say so at once.
 *
 * It does not reach across network namespaces (two containers with one volume) and is not there outside Linux. What
 * keeps the queue whole even then is the fence in its file (fence.ts): the writer that was overtaken cannot commit.
 */
import { statSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { HoldfastError } from '../errors.js';

export class Lock {
  private constructor(private readonly server: Server | undefined) {}

  /**
   * Takes the lock of a queue's directory.
   * @throws HoldfastError queue_locked (retry) where another writer has it
   */
  static take(directory: string): Lock {
    if (process.platform !== 'linux') return new Lock(undefined);
    const server = createServer((socket) => socket.destroy());
    // A name that is taken shows in `listening` before listen returns; the event that comes later says nothing more.
    server.on('error', () => undefined);
    const { dev, ino } = statSync(directory, { bigint: true });
    server.listen({ path: `\0holdfast-queue-${dev}-${ino}`, exclusive: true });
    if (server.listening) return new Lock(server.unref());
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

  release(): void {
    this.server?.close();
  }
}

/** The error for a queue that has a writer. */
export function lockedError(directory: string): HoldfastError {
  const message = `the queue in ${directory} is at work in another process; a queue has one writer`;
  return new HoldfastError('queue_locked', message, true);
}
