/**
 * The service of commands: what applications ask of them. One command is command.ts; sending is notify.ts, with
 * command-outbox.ts between; results come with the records (results.ts); time ends the rest (command-expiry.ts).
 *
 * A command and the entry of its id among its thing's pending ones change in one step, and are written together. So there is
 * never a command that nobody would send, nor an entry without a command, at whatever moment the process dies.
 *
 * Requests for many. The things are found first (command-targets.ts), and a request that names a thing that was never heard
 * of makes no command at all. Then each thing stands for itself: commands are written in groups of THINGS_A_STEP, and a
 * thing that has `maxPending` commands already is left out; the answer holds those that were made. A failure on the way
 * leaves the groups before it: their commands are in the lists of their things.
 */
import { v7 as uuid } from 'uuid';
import type { CommandRequest, CommandTargets, CommandView, Listed, Page, ShadowApi } from './api.js';
import { commandWrite, decodeCommand, finishedCommand, isCommandId, isOpen, newCommand } from './command.js';
import type { CommandOutbox } from './command-outbox.js';
import { checkRequest, MAX_REQUEST_BYTES } from './command-request.js';
import { findTargets, groupsOf, THINGS_A_STEP } from './command-targets.js';
import type { DownlinkMetrics } from './downlink-metrics.js';
import { RequestError } from './request-error.js';
import type { Store } from './store.js';
import type { Thing } from './thing.js';
import type { PutCommand, ThingsApi } from './things-api.js';

export interface CommandsOptions {
  readonly things: ThingsApi;
  readonly store: Store;
  readonly outbox: CommandOutbox;
  readonly metrics: DownlinkMetrics;
  /** Commands of a thing that are not over. */
  readonly maxPending: number;
  /** How long a command is kept once it is over. */
  readonly retentionMs: number;
  /** ms since 1970; for tests. */
  readonly clock?: () => number;
}

export class Commands implements Pick<
  ShadowApi,
  'sendCommand' | 'sendCommands' | 'getCommand' | 'listCommands' | 'cancelCommand'
> {
  readonly #clock: () => number;

  constructor(private readonly options: CommandsOptions) {
    this.#clock = options.clock ?? Date.now;
  }

  /**
   * Makes a command; it is sent as soon as the thing is connected.
   * @throws RequestError 400, 413 for the request itself; 404 where the thing was never heard of; 429 where it has too many
   *   commands that are not over
   * @throws HoldfastError store (retry) while the store is away. Where it went away in the middle of the write, the command is
   *   there once the store is back: the list of the thing's commands says so
   */
  async sendCommand(thing: string, request: CommandRequest): Promise<CommandView> {
    checkRequest(request);
    const [command] = await this.#queue([thing], request, (refusal) => {
      throw refusal;
    });
    return command!;
  }

  /**
   * Makes a command for each of many things. @returns those that were made, at most one a thing
   * @throws RequestError as sendCommand does and as findTargets does, with nothing made; 429 where every thing has too many
   * @throws HoldfastError store (retry) while the store is away: the first commands may have been made
   */
  async sendCommands(targets: CommandTargets, request: CommandRequest): Promise<readonly CommandView[]> {
    const bytes = checkRequest(request);
    const { things, store } = this.options;
    const ids = await findTargets(things, store, targets);
    if (bytes * ids.length > MAX_REQUEST_BYTES) {
      const message = `${ids.length} commands of ${bytes} bytes are more than ${MAX_REQUEST_BYTES} bytes: ask in several`;
      throw new RequestError(413, message);
    }
    const made: CommandView[] = [];
    const refusals: RequestError[] = [];
    for (const group of groupsOf(ids, THINGS_A_STEP)) {
      made.push(...(await this.#queue(group, request, (refusal) => refusals.push(refusal))));
    }
    if (made.length === 0 && refusals[0] !== undefined) throw refusals[0];
    return made;
  }

  /**
   * @param thing undefined: whichever it is for
   * @throws RequestError 404
   * @throws HoldfastError store (retry) while the store is away
   */
  async getCommand(thing: string | undefined, id: string): Promise<CommandView> {
    const values = isCommandId(id) ? await this.options.things.commands([id]) : [];
    return readCommand(thing, id, values[0]);
  }

  /**
   * Commands of a thing, newest first; those that are over stay in the list for the retention.
   * @throws RequestError 400 where `after` is no command's id; 404 where the thing was never heard of
   * @throws HoldfastError store (retry) while the store is away
   */
  async listCommands(thing: string, { pageSize, after }: Page): Promise<Listed<CommandView>> {
    const { things, store } = this.options;
    if (after !== '' && !isCommandId(after)) throw new RequestError(400, 'The page does not exist: ask for the first');
    const [found] = await things.get([thing]);
    if (found?.isKnown !== true) throw unknownThing(thing);
    const ids = await store.listCommands(thing, after, pageSize);
    const values = await things.commands(ids);
    // One that is listed and has no value was removed this moment.
    const items = values.filter((value) => value !== undefined).map((value) => decodeCommand(value));
    return { items, next: ids.length < pageSize ? undefined : ids.at(-1) };
  }

  /**
   * Cancels a command. One that was SENT may be under way to the device or done by it already: what was canceled is that
   * it is sent again, and that its result counts.
   * @param thing undefined: whichever it is for
   * @throws RequestError 404; 409 where it is over already
   * @throws HoldfastError store (retry) while the store is away
   */
  async cancelCommand(thing: string | undefined, id: string): Promise<CommandView> {
    const { thing: owner } = await this.getCommand(thing, id);
    const canceled = await this.options.things.change([owner], [id], ([found], [value], put) => {
      const command = readCommand(owner, id, value);
      if (!isOpen(command)) throw new RequestError(409, `Command ${id} is over already: it is ${command.state}`);
      const after = finishedCommand(command, 'CANCELED', this.#clock());
      found!.setPending(found!.pending.filter((pending) => pending !== id));
      put(commandWrite(after, this.options.retentionMs));
      return after;
    });
    this.options.metrics.commands.inc({ state: canceled.state });
    return canceled;
  }

  /**
   * Makes one command for each of the things that can have one more, in one change.
   * @param onRefusal told why a thing is left out; where it throws, nothing is made
   */
  async #queue(
    ids: readonly string[],
    request: CommandRequest,
    onRefusal: (refusal: RequestError) => void,
  ): Promise<readonly CommandView[]> {
    const { things, outbox, metrics } = this.options;
    const made = await things.change(ids, [], (found, _, put) => {
      const commands: CommandView[] = [];
      for (const thing of found) {
        const refusal = this.#refusalOf(thing);
        if (refusal === undefined) commands.push(this.#make(thing, request, put));
        else onRefusal(refusal);
      }
      metrics.commands.inc({ state: 'QUEUED' }, commands.length);
      return commands;
    });
    outbox.release(made);
    return made;
  }

  #make(thing: Thing, request: CommandRequest, put: PutCommand): CommandView {
    const command = newCommand(uuid(), thing.id, request, this.#clock());
    this.options.outbox.hold(command);
    thing.setPending([...thing.pending, command.id]);
    put(commandWrite(command, this.options.retentionMs));
    return command;
  }

  #refusalOf(thing: Thing): RequestError | undefined {
    const { maxPending } = this.options;
    if (!thing.isKnown) return unknownThing(thing.id);
    if (thing.pending.length < maxPending) return undefined;
    const message = `Thing ${thing.id} has ${thing.pending.length} commands that are not over, and ${maxPending} are allowed`;
    return new RequestError(429, `${message}: wait for them, or cancel some`);
  }
}

function readCommand(thing: string | undefined, id: string, value: Buffer | undefined): CommandView {
  const command = value === undefined ? undefined : decodeCommand(value);
  if (command === undefined || (thing !== undefined && command.thing !== thing)) {
    throw new RequestError(404, `No command ${thing === undefined ? '' : `of thing ${thing} `}has the id ${id}`);
  }
  return command;
}

function unknownThing(thing: string): RequestError {
  return new RequestError(
    404,
    `Thing ${thing} was never heard of: it has not connected, and nobody has made a shadow of it`,
  );
}
