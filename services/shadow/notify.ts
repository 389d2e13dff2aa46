/**
 * What is sent to which device, and when.
 *
 *   a connection opens   the delta, where there is one; then the commands that are pending, in order
 *   a thing was written  the delta, where it is not the one this connection was given last; commands that are new
 *   a question           the shadow
 *
 * A delta that vanishes is told by nothing, but it is remembered: the same one is sent again when it arises again. Nothing
 * is sent a record: things tell of themselves once a flush, when the change is durable.
 *
 * The state is what a connection was given (connection.ts), not what is to be sent. So whatever a device needs is worked
 * out when its turn comes, from its thing as it is then; a device that changes ten times before its turn is told once, and a
 * message that could not be sent needs no place to wait: the device is looked at again. What is about to be sent is noted
 * before it is sent, so that a connection that opens meanwhile, which is a new object, is told all of it.
 *
 * Devices wait in three backlogs, each device in one of them, once: those that changed or asked, those that arrived, and
 * those whose edge had no room. They are worked off by one loop in groups of up to GROUP, half of them changed ones where
 * both wait, so that in a storm of reconnects a change still gets through at once. Things are loaded a group at a time. Those
 * that failed are tried again every RETRY_MS, a group at a time, and without a pause as soon as a whole group could be sent.
 *
 * Commands are SENT when they were given to the downlink; that is written down a group at a time, while the next group is
 * sent. The loop never runs ahead of that by more than one group, so with the store away no more commands go out.
 */
import { setImmediate as turn } from 'node:timers/promises';
import { DownlinkType } from '../../shared/downlink-frames.js';
import { HoldfastError } from '../../shared/errors.js';
import type { Part } from '../../shared/lifecycle.js';
import type { Logger } from '../../shared/log.js';
import { StateLog } from '../../shared/state-log.js';
import { CLASSIC } from './api.js';
import { Backlog } from './backlog.js';
import { commandPayload } from './command.js';
import type { CommandOutbox, SentNote } from './command-outbox.js';
import { markOf, type Connection } from './connection.js';
import type { Downlink } from './downlink.js';
import type { Thing } from './thing.js';
import type { ThingsApi } from './things-api.js';

export interface NotifyOptions {
  readonly things: ThingsApi;
  readonly downlink: Pick<Downlink, 'find' | 'send' | 'listen'>;
  readonly outbox: CommandOutbox;
  readonly log: Logger;
  /** Called where sending fails for good: the process must end. */
  readonly onFailure: (error: unknown) => void;
  /** ms since 1970; for tests. */
  readonly clock?: () => number;
  /** How long those wait whose edge had no room; for tests. */
  readonly retryMs?: number;
}

/** A command that a connection has not been given. */
interface Due {
  readonly connection: Connection;
  readonly id: string;
}

/** Devices, and commands, that are looked at together. */
const GROUP = 1_000;
const RETRY_MS = 200;
/** What the device knows itself. */
const KEPT_BACK: readonly string[] = ['latest', 'connected'];

export class Notify implements Part {
  readonly name = 'notify';
  readonly #state: StateLog;
  readonly #clock: () => number;
  readonly #retryMs: number;
  readonly #changed = new Backlog<Connection>();
  readonly #arrived = new Backlog<Connection>();
  readonly #failed = new Backlog<Connection>();
  #running: Promise<void> | undefined;
  #writing: Promise<void> | undefined;
  #retry: NodeJS.Timeout | undefined;
  #retryNow = false;
  #stopped = false;

  constructor(private readonly options: NotifyOptions) {
    this.#state = new StateLog(options.log, 'looking');
    this.#clock = options.clock ?? Date.now;
    this.#retryMs = options.retryMs ?? RETRY_MS;
    const { downlink, things, outbox } = options;
    downlink.listen({
      onArrival: (connection) => this.#look(connection, this.#arrived),
      onQuestion: (connection) => this.#look(connection, this.#changed),
    });
    things.onWritten((thing) => this.#written(thing));
    outbox.listen((ids) => ids.forEach((id) => this.#lookAt(id)));
  }

  /** How many devices wait to be looked at. */
  get waiting(): number {
    return this.#changed.size + this.#arrived.size + this.#failed.size;
  }

  /** Sends no more. To be stopped before the things. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#retry);
    this.options.outbox.close();
    await this.#running;
    await this.#writing;
  }

  #lookAt(deviceId: string): void {
    const connection = this.options.downlink.find(deviceId);
    if (connection !== undefined) this.#look(connection, this.#changed);
  }

  #look(connection: Connection, backlog: Backlog<Connection>): void {
    if (connection.waiting || this.#stopped) return;
    connection.waiting = true;
    backlog.push(connection);
    if (backlog === this.#failed) this.#retry ??= setTimeout(() => this.#tryAgain(), this.#retryMs);
    else this.#wake();
  }

  /** Most things that were written have nothing to tell: those are done with here. */
  #written(thing: Thing): void {
    const connection = this.options.downlink.find(thing.id);
    if (connection === undefined) return;
    const mark = markOf(thing.delta());
    if (mark === '') connection.told = '';
    const isTold = mark === connection.told && connection.missing(thing.pending).length === 0;
    if (!isTold) this.#look(connection, this.#changed);
  }

  #tryAgain(): void {
    this.#retry = undefined;
    this.#retryNow = true;
    this.#wake();
  }

  #wake(): void {
    this.#running ??= this.#run().catch((error: unknown) => {
      if (!this.#stopped) this.options.onFailure(error);
    });
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      // What one turn of the event loop brings is looked at together, and between groups others have their turn.
      await turn();
      const group = this.#takeGroup();
      if (group.length > 0) await this.#tell(group);
      if (this.#retryNow) await this.#tellFailed();
      else if (group.length === 0) break;
    }
    this.#running = undefined;
  }

  #takeGroup(): Connection[] {
    const group = this.#take(this.#changed, GROUP / 2);
    group.push(...this.#take(this.#arrived, GROUP - group.length));
    group.push(...this.#take(this.#changed, GROUP - group.length));
    return group;
  }

  async #tellFailed(): Promise<void> {
    const group = this.#take(this.#failed, GROUP);
    // They went back into the backlog where there was still no room; then the timer is set again.
    const isSent = await this.#tell(group);
    this.#retryNow = isSent && this.#failed.size > 0;
  }

  /** Takes up to `count` that are still the current ones of their devices. */
  #take(backlog: Backlog<Connection>, count: number): Connection[] {
    const taken: Connection[] = [];
    while (taken.length < count) {
      const connection = backlog.shift();
      if (connection === undefined) break;
      connection.waiting = false;
      if (this.#isCurrent(connection)) taken.push(connection);
    }
    return taken;
  }

  #isCurrent(connection: Connection): boolean {
    return this.options.downlink.find(connection.deviceId) === connection;
  }

  /** Sends what these devices need. @returns false where something could not be sent; it will be tried again */
  async #tell(group: readonly Connection[]): Promise<boolean> {
    try {
      const things = await this.options.things.get(group.map(({ deviceId }) => deviceId));
      const isSent = await this.#tellThings(group, things);
      this.#state.enter('looking', 'info', {}, 'devices are looked up again');
      return isSent;
    } catch (error) {
      if (!(error instanceof HoldfastError) || !error.retry) throw error;
      const reason = error.message;
      this.#state.enter('away', 'warn', { reason }, 'cannot look up what devices need; shadow keeps trying');
      for (const connection of group) this.#look(connection, this.#failed);
      return false;
    }
  }

  async #tellThings(group: readonly Connection[], things: readonly Thing[]): Promise<boolean> {
    const due: Due[] = [];
    const refused = new Set<Connection>();
    for (const [index, connection] of group.entries()) {
      if (this.#stopped) return true;
      const thing = things[index]!;
      if (!this.#isCurrent(connection)) continue;
      if ((await this.#sendDelta(connection, thing)) && (await this.#answer(connection, thing))) {
        due.push(...this.#dueCommands(connection, thing));
      } else {
        refused.add(connection);
      }
    }
    for (let start = 0; start < due.length && !this.#stopped; start += GROUP) {
      await this.#sendCommands(due.slice(start, start + GROUP), refused);
    }
    for (const connection of refused) this.#look(connection, this.#failed);
    return refused.size === 0;
  }

  async #sendDelta(connection: Connection, thing: Thing): Promise<boolean> {
    const delta = thing.delta();
    const mark = markOf(delta);
    const before = connection.told;
    if (mark === before) return true;
    connection.told = mark;
    if (delta === undefined) return true;
    if (await this.#send(connection, DownlinkType.delta, delta.version, delta.text)) return true;
    // Unless it has vanished while it was tried.
    if (connection.told === mark) connection.told = before;
    return false;
  }

  async #answer(connection: Connection, thing: Thing): Promise<boolean> {
    if (!connection.asked) return true;
    connection.asked = false;
    if (await this.#send(connection, DownlinkType.shadow, 0, shadowPayload(thing))) return true;
    connection.asked = true;
    return false;
  }

  #dueCommands(connection: Connection, { pending }: Thing): Due[] {
    const { outbox } = this.options;
    const missing = connection.missing(pending);
    // What comes after one that is held back waits with it; whoever holds it back tells when it is free.
    const held = missing.findIndex((id) => outbox.isHeld(connection.deviceId, id));
    return (held < 0 ? missing : missing.slice(0, held)).map((id) => ({ connection, id }));
  }

  /** @param refused those whose edge has no room; others are added */
  async #sendCommands(due: readonly Due[], refused: Set<Connection>): Promise<void> {
    const { outbox } = this.options;
    const commands = await outbox.load(
      due.map(({ id }) => id),
      this.#clock(),
    );
    const notes: SentNote[] = [];
    for (const [index, { connection, id }] of due.entries()) {
      const command = commands[index];
      if (command === undefined || refused.has(connection) || !this.#isCurrent(connection)) continue;
      if (await this.#send(connection, DownlinkType.command, 0, commandPayload(command))) {
        connection.give(id);
        notes.push({ id, atMs: this.#clock() });
      } else {
        refused.add(connection);
      }
    }
    if (notes.length === 0) return;
    await this.#writing;
    this.#writing = outbox.sent(notes);
    this.#writing.catch((error: unknown) => {
      if (!this.#stopped) this.options.onFailure(error);
    });
  }

  #send(connection: Connection, type: DownlinkType, version: number, payload: string): Promise<boolean> {
    return this.options.downlink.send(connection.deviceId, type, version, payload);
  }
}

/** The document as the device gets it. */
function shadowPayload(thing: Thing): string {
  const view = thing.view(CLASSIC);
  if (view === undefined) return 'null';
  return JSON.stringify(Object.fromEntries(Object.entries(view).filter(([key]) => !KEPT_BACK.includes(key))));
}
