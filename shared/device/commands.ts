/**
 * Does commands: one after the other, each once however often it arrives, and answers each with a record of kind `result`,
 * `{"id","status","data"}`. The cloud sends a command again on every connection until it has the result, so:
 *
 *   a command that waits, runs, or whose result is not acked yet     nothing: the answer is on its way
 *   a command whose result is acked                                  the same result again, in a new record
 *   a command that another life of the process has begun             FAILED: it may have been done, and is not begun again
 *   a command that has expired, by the device's clock                REJECTED "expired"
 *
 * That is at most once. What it does not cover: a process that dies, or closes its device, while it does a command answers
 * FAILED in its next life, done or not. Without a file buffer the next process has forgotten everything, and does again
 * what was not answered. Of more than MAX_COMMANDS commands the oldest are forgotten; a power cut forgets what was not
 * synced (buffer.sync).
 */
import type { DeviceCommand } from '../device-frames.js';
import { HoldfastError, messageOf } from '../errors.js';
import type { RecordBuffer } from './buffer.js';
import {
  MAX_COMMANDS,
  MAX_RESULT_BYTES,
  type CommandMemory,
  type CommandResult,
  type RememberedCommand,
} from './command-memory.js';
import { asDeviceError } from './failure.js';

/** Does a command. What it returns (or resolves to) is the data of the result. */
export type CommandHandler = (command: DeviceCommand) => unknown;

/** Thrown by a handler of commands: the device will not do it. The message goes back as the reason. */
export class CommandRejected extends Error {
  override readonly name = 'CommandRejected';
}

/** How the message of a result begins that stands for one which the edge did not take. */
const REFUSAL = 'the edge has refused the result: ';

/** Where results go. */
export interface ResultSink {
  readonly buffer: Pick<RecordBuffer, 'acked' | 'lastSeq'>;
  /** Keeps a result as the next record, with the next seq. @throws HoldfastError buffer_full, disk_low, bad_record */
  keep(result: CommandResult): void;
}

export class Commands {
  #handler: CommandHandler | undefined;
  /** What is not begun yet, by id. */
  readonly #waiting = new Map<string, DeviceCommand>();
  #runningId: string | undefined;
  /** Ids whose result did not fit the buffer. */
  readonly #unkept = new Set<string>();
  #running = false;

  /** @param onError gets what goes wrong here and is no failure of a command */
  constructor(
    private readonly memory: CommandMemory,
    private readonly sink: ResultSink,
    private readonly onError: (error: HoldfastError) => void,
  ) {}

  handle(handler: CommandHandler): void {
    this.#handler = handler;
  }

  /** Begins no command any more; the one that is being done gets no answer from this process. */
  close(): void {
    this.#handler = undefined;
    this.#waiting.clear();
    this.#unkept.clear();
  }

  /** A command has arrived. Without a handler it is passed over: it comes again on the next connection. */
  take(command: DeviceCommand): void {
    const { id } = command;
    if (this.#handler === undefined || this.#waiting.has(id) || id === this.#runningId) return;
    const known = this.memory.get(id);
    if (known !== undefined) {
      this.#answerAgain(id, known.result, known.seq);
    } else if (this.#waiting.size < MAX_COMMANDS) {
      this.#waiting.set(id, command);
      if (!this.#running) void this.#run(this.#handler);
    }
  }

  /** Records were acked: the buffer has room. */
  settled(): void {
    for (const id of this.#unkept) {
      const result = this.memory.get(id)?.result;
      if (result !== undefined && !this.#answer(result)) return;
      this.#unkept.delete(id);
    }
  }

  /** The edge has refused a record. If it was the result of a command, the cloud gets a smaller one that says so. */
  refused(seq: number, code: string, message: string): void {
    const result = this.memory.bySeq(seq)?.result;
    if (result === undefined || isRefusal(result)) return;
    this.#answer({ id: result.id, status: 'FAILED', data: { message: `${REFUSAL}${code}: ${message}` } });
  }

  #answerAgain(id: string, result: CommandResult | undefined, seq: number): void {
    if (result === undefined) {
      const message = 'the process of the device ended while it did this command; it may have been done';
      this.#answer({ id, status: 'FAILED', data: { message } });
      return;
    }
    const isUnderWay = seq > this.sink.buffer.acked;
    if (!isUnderWay) this.#answer(result);
  }

  async #run(handler: CommandHandler): Promise<void> {
    this.#running = true;
    try {
      for (const [id, command] of this.#waiting) {
        this.#waiting.delete(id);
        this.#runningId = id;
        await this.#do(handler, command);
      }
    } finally {
      this.#running = false;
      this.#runningId = undefined;
    }
  }

  async #do(handler: CommandHandler, command: DeviceCommand): Promise<void> {
    const { id, expires } = command;
    if (expires !== undefined && expires < Date.now()) {
      this.#answer({ id, status: 'REJECTED', data: { message: 'expired' } });
      return;
    }
    if (this.#remember({ id, seq: 0 })) {
      this.#answer(await perform(handler, command));
    } else {
      // Not begun, because a next process could not know: it comes again, and there may be room on the disk then.
      this.memory.forget(id);
    }
  }

  /** Remembers a result and gives it to the buffer. @returns false where it has no room: it is tried again */
  #answer(result: CommandResult): boolean {
    // Written down first: the result of a command that is answered must be known, and a seq that the buffer has not given
    // tells the next process that it is not answered.
    this.#remember({ id: result.id, result, seq: this.sink.buffer.lastSeq + 1 });
    try {
      this.sink.keep(result);
      return true;
    } catch (error) {
      return this.#unsent(result, error);
    }
  }

  #unsent(result: CommandResult, error: unknown): boolean {
    const { id } = result;
    const code = error instanceof HoldfastError ? error.code : undefined;
    if (code === 'bad_record' && JSON.stringify(result).length > MAX_RESULT_BYTES) {
      return this.#answer({ id, status: 'FAILED', data: { message: messageOf(error) } });
    }
    this.#remember({ id, result, seq: 0 });
    this.#unkept.add(id);
    // A full buffer makes room, and a device that is closed answers in its next life.
    if (code !== 'buffer_full' && code !== 'device_closed') this.#failed(error);
    return false;
  }

  /** @returns false where it could not be written down */
  #remember(command: RememberedCommand): boolean {
    try {
      this.memory.put(command);
      return true;
    } catch (error) {
      this.#failed(error);
      return false;
    }
  }

  #failed(error: unknown): void {
    this.onError(asDeviceError(error, 'a command could not be answered'));
  }
}

function isRefusal({ data }: CommandResult): boolean {
  const message = (data as { readonly message?: unknown } | null)?.message;
  return typeof message === 'string' && message.startsWith(REFUSAL);
}

async function perform(handler: CommandHandler, command: DeviceCommand): Promise<CommandResult> {
  const { id } = command;
  try {
    const data = (await handler(command)) ?? null;
    return { id, status: 'SUCCEEDED', data: JSON.parse(JSON.stringify(data)) as unknown };
  } catch (error) {
    const status = error instanceof CommandRejected ? 'REJECTED' : 'FAILED';
    return { id, status, data: { message: messageOf(error) } };
  }
}
