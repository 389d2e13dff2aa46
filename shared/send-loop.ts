/**
 * The one send loop of a socket: ZeroMQ rejects a second send while one waits (EBUSY), and a socket at its high-water
 * mark makes a send wait. Messages queue here, bounded by their bytes.
 */
import { asError } from './errors.js';

/** What a message is made of; a buffer must not be written after it was given away. */
export type Frames = readonly (Buffer | string)[];

interface Sender {
  send(frames: (Buffer | string)[]): Promise<void>;
}

export class SendLoop {
  readonly #waiting: Frames[] = [];
  #waitingBytes = 0;
  #running = false;
  #closed = false;

  /**
   * @param maxBytes bytes that may wait; beyond it push refuses
   * @param onError what to do about a message that could not be sent; the loop goes on with the next
   */
  constructor(
    private readonly socket: Sender,
    private readonly maxBytes: number,
    private readonly onError: (error: Error, frames: Frames) => void,
  ) {}

  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  /** Queues a message. @returns false, with nothing queued, where too much is waiting already or the loop is closed */
  push(frames: Frames): boolean {
    if (this.#closed || this.#waitingBytes > this.maxBytes) return false;
    this.#waiting.push(frames);
    this.#waitingBytes += sizeOf(frames);
    if (!this.#running) void this.#run();
    return true;
  }

  /** Drops what waits and takes no more; to be called before the socket is closed. */
  close(): void {
    this.#closed = true;
    this.#waiting.length = 0;
    this.#waitingBytes = 0;
  }

  async #run(): Promise<void> {
    this.#running = true;
    for (let frames = this.#waiting.shift(); frames !== undefined; frames = this.#waiting.shift()) {
      try {
        await this.socket.send([...frames]);
      } catch (error) {
        if (!this.#closed) this.onError(asError(error), frames);
      }
      this.#waitingBytes = Math.max(0, this.#waitingBytes - sizeOf(frames));
    }
    this.#running = false;
  }
}

function sizeOf(frames: Frames): number {
  return frames.reduce((sum, frame) => sum + frame.length, 0);
}
