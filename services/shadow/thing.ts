/**
 * A thing: a device as shadow knows it. Its shadows, its newest telemetry, whether it is connected, what type and site it
 * has, and which commands are not over. Pure state: the engine (things.ts) applies records to it, the API asks and changes
 * it, codec.ts makes it one stored value.
 *
 * The classic shadow is there as soon as the device has said anything: with an empty state and version 0 where that was
 * only telemetry or its presence. Deleted, it is gone until something is accepted again.
 *
 * Reports with the fields of the one before wait in a row (report-rows.ts) until somebody asks for the classic shadow, which
 * takes them first.
 *
 * Named shadows are limited, and so is the memory of deleted ones: it keeps the versions of the last few, so that they go
 * on counting; one that was deleted before those starts again at 1.
 */
import { CLASSIC, type ShadowUpdate } from './api.js';
import type { Json, JsonObject } from './json.js';
import { Latest } from './latest.js';
import { Presence } from './presence.js';
import { NO_ROW, type ReportRows } from './report-rows.js';
import { RequestError } from './request-error.js';
import { ShadowDocument, type DocumentLimits } from './shadow-document.js';
import type { ThingEntry } from './store.js';

export type { DocumentLimits } from './shadow-document.js';

/** Named shadows a thing may have, and deleted ones whose version is kept. */
export const MAX_NAMED_SHADOWS = 16;

export class Thing {
  /** Context of the device, set by the engine before it is written. */
  type: string | null = null;
  site: string | null = null;
  /** Raised by every change of a document or of `pending`, but for reports that are taken into a row; not stored. */
  revision = 0;
  #pending: readonly string[] = NONE;
  #classic: ShadowDocument | undefined;
  #rows: ReportRows | undefined;
  #row = NO_ROW;
  /** The generation of the rows when it last had one. */
  #rowsOf = 0;
  // For codec.ts: undefined where nothing was ever said.
  latest: Latest | undefined;
  presence: Presence | undefined;
  /** By name; deleted ones in the order of their deletion. */
  named: Map<string, ShadowDocument> | undefined;

  constructor(readonly id: string) {}

  /** The classic shadow. For codec.ts: undefined where nothing was ever said. */
  get classic(): ShadowDocument | undefined {
    if (this.#row !== NO_ROW) this.#takeRow();
    return this.#classic;
  }

  set classic(document: ShadowDocument | undefined) {
    this.#classic = document;
  }

  /** False for a thing that nobody has ever said anything of or to. */
  get isKnown(): boolean {
    return (
      this.classic !== undefined ||
      this.latest !== undefined ||
      this.presence !== undefined ||
      this.named !== undefined ||
      this.#pending.length > 0
    );
  }

  get connected(): boolean {
    return this.presence?.connected ?? false;
  }

  /** Ids of commands that are not over, oldest first. */
  get pending(): readonly string[] {
    return this.#pending;
  }

  setPending(ids: readonly string[]): void {
    this.#pending = ids.length === 0 ? NONE : ids;
    this.revision++;
  }

  /** As it was stored. */
  restorePending(ids: readonly string[]): void {
    this.#pending = ids;
  }

  /**
   * Merges a report of the device into the classic shadow.
   * @param timeMs when it was said, at the latest when it was received
   * @returns false where every field of it is older than what is there; then nothing has changed
   * @throws RequestError 400, 413, with nothing changed
   */
  applyReport(report: JsonObject | null, timeMs: number, limits: DocumentLimits): boolean {
    const document = this.classic ?? new ShadowDocument();
    if (!document.applyReport(report, timeMs, limits)) return false;
    this.classic = document;
    this.revision++;
    return true;
  }

  /**
   * Takes a report that has the fields of the one before into a row, where further ones may follow until somebody looks at
   * the shadow.
   * @param rows of the group that the thing is in then; they are not cleared before it is encoded
   * @param idEnd where in the batch the thing's id ends and the report begins
   * @param timeMs when it was said, at the latest when it was received
   * @returns false, with nothing changed, where it has to be parsed and merged
   */
  takeReport(
    rows: ReportRows,
    batch: Buffer,
    idStart: number,
    idEnd: number,
    end: number,
    timeMs: number,
    limits: DocumentLimits,
  ): boolean {
    if (this.#row !== NO_ROW) return rows.put(this.#row, batch, idEnd, end, timeMs);
    if (this.#rowsOf === rows.generation) return false;
    const template = this.#classic?.templateAt(timeMs, limits);
    if (template === undefined) return false;
    this.#row = rows.open(template, batch, idStart, idEnd, end, timeMs);
    if (this.#row === NO_ROW) return false;
    this.#rows = rows;
    this.#rowsOf = rows.generation;
    return true;
  }

  /**
   * Takes telemetry unless newer is known. The batch must stay as it is until the thing is encoded or viewed.
   * @param effectiveMs what decides which is newer, before `seq`
   * @param timeMs the record's own time, which views show
   */
  applyTelemetry(batch: Buffer, start: number, end: number, effectiveMs: number, timeMs: number, seq: number): void {
    (this.latest ??= new Latest()).apply(batch, start, end, effectiveMs, timeMs, seq);
  }

  /** @param session names the connection; see presence.ts */
  applyPresence(online: boolean, timeMs: number, session: string | undefined): void {
    (this.presence ??= new Presence()).apply(online, timeMs, session);
  }

  /**
   * Changes a shadow as a caller asks for it.
   * @param name CLASSIC, or that of a named shadow
   * @returns what was accepted: `{state, metadata, version, timestamp}`, of the request's fields only
   * @throws RequestError 400, 409, 413, with nothing changed
   */
  update(name: string, update: ShadowUpdate, nowMs: number, limits: DocumentLimits): JsonObject {
    const known = this.#document(name);
    const isNew = name !== CLASSIC && (known === undefined || known.isDeleted);
    if (isNew && this.names().length >= MAX_NAMED_SHADOWS) {
      throw new RequestError(400, `'${this.id}' has ${MAX_NAMED_SHADOWS} named shadows, the most that are allowed`);
    }
    const document = known ?? new ShadowDocument();
    const accepted = document.update(update, nowMs, limits);
    if (name === CLASSIC) this.classic = document;
    else (this.named ??= new Map()).set(name, document);
    this.revision++;
    return accepted;
  }

  /**
   * Deletes a shadow. Latest, presence and pending commands stay.
   * @returns `{version, timestamp}` of what is gone
   * @throws RequestError 404
   */
  delete(name: string, nowMs: number): JsonObject {
    if (!this.#exists(name)) {
      const full = name === CLASSIC ? this.id : `${this.id}~${name}`;
      throw new RequestError(404, `No shadow exists with name: '${full}'`);
    }
    const document = this.#document(name) ?? new ShadowDocument();
    const deleted = document.delete(nowMs);
    if (name === CLASSIC) this.classic = document;
    else this.#bury(name, document);
    this.revision++;
    return deleted;
  }

  /** The document as GET answers it; undefined where there is none. */
  view(name: string): JsonObject | undefined {
    if (!this.#exists(name)) return undefined;
    const document = this.#document(name) ?? new ShadowDocument();
    const view: Record<string, Json> = document.view();
    if (name !== CLASSIC) return view;
    if (document.version === 0) {
      view['timestamp'] = Math.max(this.latest?.effectiveMs ?? 0, this.presence?.changedMs ?? 0, 0);
    }
    if (this.latest !== undefined) view['latest'] = this.latest.view();
    view['connected'] = this.connected;
    return view;
  }

  /** Names of the named shadows that exist, in order. */
  names(): string[] {
    if (this.named === undefined) return [];
    return [...this.named.keys()].filter((name) => !this.named!.get(name)!.isDeleted).sort();
  }

  /** What the device still has to learn of its classic shadow; undefined where that is nothing. */
  delta(): { readonly text: string; readonly version: number } | undefined {
    const text = this.classic?.deltaText();
    return text === undefined ? undefined : { text, version: this.classic!.version };
  }

  entry(): ThingEntry {
    return { connected: this.connected, type: this.type, site: this.site };
  }

  #document(name: string): ShadowDocument | undefined {
    return name === CLASSIC ? this.classic : this.named?.get(name);
  }

  #exists(name: string): boolean {
    const document = this.#document(name);
    if (document !== undefined) return !document.isDeleted;
    return name === CLASSIC && (this.latest !== undefined || this.presence !== undefined);
  }

  #takeRow(): void {
    this.#classic!.takeRow(this.#rows!, this.#row);
    this.#rows!.close(this.#row);
    this.#row = NO_ROW;
  }

  /** Keeps a deleted document, and forgets the one that was deleted longest ago where there are too many. */
  #bury(name: string, document: ShadowDocument): void {
    const named = this.named!;
    named.delete(name);
    named.set(name, document);
    const deleted = [...named.keys()].filter((each) => named.get(each)!.isDeleted);
    if (deleted.length > MAX_NAMED_SHADOWS) named.delete(deleted[0]!);
  }
}

const NONE: readonly string[] = [];
