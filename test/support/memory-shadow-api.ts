/**
 * The shadow service in a Map: a ShadowApi for tests of what speaks for it. It has the rules that a caller can see (merge,
 * version, states of commands) in their simplest form, and can be told to fail or to take its time.
 */
import { v7 as uuidv7 } from 'uuid';
import {
  CLASSIC,
  type CommandRequest,
  type CommandTargets,
  type CommandView,
  type Listed,
  type Page,
  type ShadowApi,
  type ShadowUpdate,
  type ThingFilter,
  type ThingSummary,
} from '../../services/shadow/api.js';
import { isJsonObject, type Json, type JsonObject } from '../../services/shadow/json.js';
import { RequestError } from '../../services/shadow/request-error.js';

export const MAX_PENDING = 3;
export const DOCUMENT_BYTES = 8 * 1024;

interface Shadow {
  desired: JsonObject;
  reported: JsonObject;
  version: number;
  timestamp: number;
}

interface MemoryThing {
  readonly shadows: Map<string, Shadow>;
  connected: boolean;
  type: string | null;
  site: string | null;
}

export class MemoryShadowApi implements ShadowApi {
  readonly things = new Map<string, MemoryThing>();
  readonly commands = new Map<string, CommandView>();
  /** Every call, as its method's name. */
  readonly calls: string[] = [];
  /** What the next calls fail with. */
  failure: Error | undefined;
  /** What the next calls wait for. */
  gate: Promise<void> | undefined;
  /** What getShadow answers with, in place of what there is. */
  document: JsonObject | undefined;

  /** A thing that is known and has no shadow. */
  add(thing: string, { connected = true, type = null, site = null }: Partial<MemoryThing> = {}): void {
    this.things.set(thing, { shadows: new Map(), connected, type, site });
  }

  async getShadow(thing: string, name: string): Promise<JsonObject> {
    await this.#called('getShadow');
    if (this.document !== undefined) return this.document;
    const { desired, reported, version, timestamp } = this.#shadow(thing, name);
    const state = { desired, reported, delta: deltaOf(desired, reported) };
    const document = { state, metadata: metadataOf({ desired, reported }, timestamp), version, timestamp };
    if (name !== CLASSIC) return document;
    const latest = { time: 1_732_112_345_678, seq: 7, data: { temperature: 80.5 } };
    return { ...document, latest, connected: this.#thing(thing).connected };
  }

  async updateShadow(thing: string, name: string, update: ShadowUpdate): Promise<JsonObject> {
    await this.#called('updateShadow');
    if (!this.things.has(thing)) this.add(thing);
    const known = this.#thing(thing);
    const old = known.shadows.get(name) ?? { desired: {}, reported: {}, version: 0, timestamp: 0 };
    if (update.version !== undefined && update.version !== old.version) {
      throw new RequestError(409, 'Version conflict');
    }
    const shadow = {
      desired: merge(old.desired, update.desired),
      reported: merge(old.reported, update.reported),
      version: old.version + 1,
      timestamp: Date.now(),
    };
    const bytes = Buffer.byteLength(JSON.stringify([shadow.desired, shadow.reported]));
    if (bytes > DOCUMENT_BYTES) throw new RequestError(413, `the document would have ${bytes} bytes`);
    known.shadows.set(name, shadow);
    const given: Record<string, Json> = {};
    if (update.desired !== undefined) given['desired'] = update.desired;
    if (update.reported !== undefined) given['reported'] = update.reported;
    const { version, timestamp } = shadow;
    return { state: given, metadata: metadataOf(given, timestamp), version, timestamp };
  }

  async deleteShadow(thing: string, name: string): Promise<JsonObject> {
    await this.#called('deleteShadow');
    const { version } = this.#shadow(thing, name);
    this.#thing(thing).shadows.delete(name);
    return { version, timestamp: Date.now() };
  }

  async listNames(thing: string, page: Page): Promise<Listed<string>> {
    await this.#called('listNames');
    const names = [...this.#thing(thing).shadows.keys()].filter((name) => name !== CLASSIC).sort();
    return pageOf(names, page, (name) => name);
  }

  async listThings({ connected, type, site }: ThingFilter, page: Page): Promise<Listed<ThingSummary>> {
    await this.#called('listThings');
    const things = [...this.things]
      .map(([thing, entry]) => ({ thing, connected: entry.connected, type: entry.type, site: entry.site }))
      .filter((each) => connected === undefined || each.connected === connected)
      .filter((each) => (type === undefined || each.type === type) && (site === undefined || each.site === site))
      .sort((a, b) => (a.thing < b.thing ? -1 : 1));
    return pageOf(things, page, ({ thing }) => thing);
  }

  async sendCommand(thing: string, request: CommandRequest): Promise<CommandView> {
    await this.#called('sendCommand');
    return this.#send(thing, request);
  }

  async sendCommands(targets: CommandTargets, request: CommandRequest): Promise<readonly CommandView[]> {
    await this.#called('sendCommands');
    const ids = isList(targets)
      ? targets
      : (
          await this.listThings({ type: targets.type, site: targets.site }, { pageSize: Infinity, after: '' })
        ).items.map(({ thing }) => thing);
    return ids.map((thing) => this.#send(thing, request));
  }

  async getCommand(thing: string | undefined, id: string): Promise<CommandView> {
    await this.#called('getCommand');
    const command = this.commands.get(id);
    if (command === undefined || (thing !== undefined && command.thing !== thing)) {
      throw new RequestError(404, `there is no command ${id}`);
    }
    return command;
  }

  async listCommands(thing: string, page: Page): Promise<Listed<CommandView>> {
    await this.#called('listCommands');
    this.#thing(thing);
    const commands = [...this.commands.values()].filter((command) => command.thing === thing).reverse();
    const older = commands.filter(({ id }) => page.after === '' || id < page.after);
    return pageOf(older, { ...page, after: '' }, ({ id }) => id);
  }

  async cancelCommand(thing: string | undefined, id: string): Promise<CommandView> {
    const command = await this.getCommand(thing, id);
    if (command.state !== 'QUEUED') throw new RequestError(409, `the command is over: ${command.state}`);
    const canceled: CommandView = { ...command, state: 'CANCELED', finishedAt: Date.now() };
    this.commands.set(id, canceled);
    return canceled;
  }

  async #called(method: string): Promise<void> {
    this.calls.push(method);
    await this.gate;
    if (this.failure !== undefined) throw this.failure;
  }

  #thing(thing: string): MemoryThing {
    const known = this.things.get(thing);
    if (known === undefined) throw new RequestError(404, `there is no thing ${thing}`);
    return known;
  }

  #shadow(thing: string, name: string): Shadow {
    const shadow = this.#thing(thing).shadows.get(name);
    if (shadow === undefined) throw new RequestError(404, `No shadow exists with name: ${name}`);
    return shadow;
  }

  #send(thing: string, { name, data, ttlMs }: CommandRequest): CommandView {
    this.#thing(thing);
    const pending = [...this.commands.values()].filter((each) => each.thing === thing && each.state === 'QUEUED');
    if (pending.length >= MAX_PENDING) throw new RequestError(409, `${MAX_PENDING} commands are under way already`);
    const queuedAt = Date.now();
    const command = { thing, name, data, state: 'QUEUED' as const, queuedAt, expiresAt: queuedAt + ttlMs, sends: 0 };
    const view = { id: uuidv7(), ...command };
    this.commands.set(view.id, view);
    return view;
  }
}

function isList(targets: CommandTargets): targets is readonly string[] {
  return Array.isArray(targets);
}

function pageOf<T>(items: readonly T[], { pageSize, after }: Page, keyOf: (item: T) => string): Listed<T> {
  const rest = items.filter((item) => keyOf(item) > after);
  const page = rest.slice(0, pageSize);
  return { items: page, next: rest.length > page.length ? keyOf(page.at(-1)!) : undefined };
}

function merge(old: JsonObject, given: JsonObject | null | undefined): JsonObject {
  if (given === undefined) return old;
  if (given === null) return {};
  const merged = new Map(Object.entries(old));
  for (const [key, value] of Object.entries(given)) {
    const before = merged.get(key);
    if (value === null) merged.delete(key);
    else merged.set(key, isJsonObject(value) ? merge(isJsonObject(before) ? before : {}, value) : value);
  }
  return Object.fromEntries(merged);
}

function deltaOf(desired: JsonObject, reported: JsonObject): JsonObject {
  const differs = ([key, value]: [string, Json]): boolean =>
    !Object.hasOwn(reported, key) || JSON.stringify(value) !== JSON.stringify(reported[key]);
  return Object.fromEntries(Object.entries(desired).filter(differs));
}

function metadataOf(value: Json, timestamp: number): JsonObject {
  if (!isJsonObject(value)) return { timestamp };
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, metadataOf(member, timestamp)]));
}
