/** What a device and the cloud ask of each other, beside records: commands, deltas, and the question for the shadow. */
import type { DeviceKind, DownMessage } from '../device-frames.js';
import type { HoldfastError } from '../errors.js';
import type { RecordBuffer } from './buffer.js';
import { Commands } from './commands.js';
import { Deltas } from './deltas.js';
import { openCommandMemory, type BufferOptions } from './options.js';
import { checkState } from './payload.js';
import { ShadowQuestion } from './shadow-question.js';

/** What the requests need of their device. */
export interface RequestsOwner {
  readonly buffer: RecordBuffer;
  /** Keeps a record. @throws HoldfastError as Device.send */
  send(data: unknown, kind: DeviceKind): number;
  /** Sends the question for the shadow. */
  ask(): void;
  /** Gets what goes wrong in handlers, and in answering. */
  onError(error: HoldfastError): void;
}

export class Requests {
  readonly commands: Commands;
  readonly deltas: Deltas;
  readonly question: ShadowQuestion;
  readonly #closeMemory: () => void;

  constructor(
    private readonly owner: RequestsOwner,
    options: BufferOptions,
  ) {
    const memory = openCommandMemory(options, owner.buffer.lastSeq);
    this.#closeMemory = () => memory.close();
    const onError = (error: HoldfastError): void => owner.onError(error);
    const keep = (result: unknown): void => void owner.send(result, 'result');
    this.commands = new Commands(memory, { buffer: owner.buffer, keep }, onError);
    this.deltas = new Deltas((state) => this.report(state), onError);
    this.question = new ShadowQuestion(() => owner.ask());
  }

  /** @throws HoldfastError bad_record where the state is neither an object nor null, and as Device.send */
  report(state: unknown): number {
    return this.owner.send(checkState(state), 'report');
  }

  /** Takes what is about requests of a message, which may be about something else. */
  receive(message: DownMessage): void {
    if (message.type === 'delta') this.deltas.take(message.delta, message.version);
    else if (message.type === 'command') this.commands.take(message.command);
    else if (message.type === 'shadow') this.question.answer(message.shadow);
    else if (message.type === 'error' && message.get !== undefined) this.question.fail(message.message);
  }

  /** Begins nothing any more, and remembers nothing more. */
  close(): void {
    this.commands.close();
    this.deltas.close();
    this.#closeMemory();
  }
}
