/** What the shadow service does for applications: the HTTP endpoint (http/) speaks for it, and knows no more than this. */
import type { JsonObject } from './json.js';

/** The classic shadow's name. */
export const CLASSIC = '';

/** A section that is absent is left alone; null removes it. */
export interface ShadowUpdate {
  readonly desired?: JsonObject | null | undefined;
  readonly reported?: JsonObject | null | undefined;
  /** Where given, the update holds only for this version. */
  readonly version?: number | undefined;
}

export interface ThingFilter {
  readonly connected?: boolean | undefined;
  readonly type?: string | undefined;
  readonly site?: string | undefined;
}

export interface Page {
  readonly pageSize: number;
  /** The last of the page before; '' for the first page. */
  readonly after: string;
}

/** One page of a list; `next` is what to give as `after`, or undefined where this was the last. */
export interface Listed<T> {
  readonly items: readonly T[];
  readonly next: string | undefined;
}

export interface ThingSummary {
  readonly thing: string;
  readonly connected: boolean;
  readonly type: string | null;
  readonly site: string | null;
}

export interface CommandRequest {
  readonly name: string;
  readonly data: unknown;
  readonly ttlMs: number;
}

/** Which things a command goes to: all named, or all that match (what is in the store when it is asked). */
export type CommandTargets = readonly string[] | { readonly type?: string; readonly site?: string };

export const COMMAND_STATES = ['QUEUED', 'SENT', 'SUCCEEDED', 'FAILED', 'REJECTED', 'TIMED_OUT', 'CANCELED'] as const;
export type CommandState = (typeof COMMAND_STATES)[number];

/** A command as applications see it; times are ms since 1970. */
export interface CommandView {
  readonly id: string;
  readonly thing: string;
  readonly name: string;
  readonly data: unknown;
  readonly state: CommandState;
  readonly queuedAt: number;
  readonly expiresAt: number;
  /** When it was first sent. */
  readonly sentAt?: number;
  /** How often it was sent. */
  readonly sends: number;
  readonly finishedAt?: number;
  /** What the device said. */
  readonly result?: unknown;
}

/** Every method throws RequestError where the request cannot be met; what it returned is durable. */
export interface ShadowApi {
  /** The document: `{state, metadata, version, timestamp, latest, connected}`. */
  getShadow(thing: string, name: string): Promise<JsonObject>;
  /** What was accepted: `{state, metadata, version, timestamp}` with the sections of the request. */
  updateShadow(thing: string, name: string, update: ShadowUpdate): Promise<JsonObject>;
  /** `{version, timestamp}` of the document that is gone. */
  deleteShadow(thing: string, name: string): Promise<JsonObject>;
  /** The names of a thing's named shadows, in order. */
  listNames(thing: string, page: Page): Promise<Listed<string>>;
  /** In order of ids. A page may hold fewer than asked for, even none, and still have a next one. */
  listThings(filter: ThingFilter, page: Page): Promise<Listed<ThingSummary>>;
  sendCommand(thing: string, request: CommandRequest): Promise<CommandView>;
  sendCommands(targets: CommandTargets, request: CommandRequest): Promise<readonly CommandView[]>;
  /** @param thing undefined: whichever it is for */
  getCommand(thing: string | undefined, id: string): Promise<CommandView>;
  /** Newest first. */
  listCommands(thing: string, page: Page): Promise<Listed<CommandView>>;
  /** The command after it was canceled; 409 where it is over already. */
  cancelCommand(thing: string | undefined, id: string): Promise<CommandView>;
}
