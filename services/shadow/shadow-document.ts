/**
 * One shadow of a thing: what is desired, what is reported, and the version that counts its accepted changes.
 *
 * A change is accepted whole or not at all: patches are checked before either section is touched, and where a document
 * comes near its limit they are merged into copies first.
 *
 * A report carries the time of its record and holds only where that is not older (merge.ts). An update by the API always
 * holds: where a clock has gone back and a field has a newer time than now, the update takes that time.
 *
 * A deleted document keeps its version, so that the next one goes on counting, and the time of the newest that was in it,
 * so that older reports do not bring it back. Device times are held only against device times there: the device's next
 * report makes a new document also where its clock is slow.
 */
import type { ShadowUpdate } from './api.js';
import type { JsonObject } from './json.js';
import { checkPatch, emptyObject, patchMetadata } from './patch.js';
import type { ReportRows } from './report-rows.js';
import type { ReportTemplate } from './report-template.js';
import { RequestError } from './request-error.js';
import { Section } from './section.js';

export interface DocumentLimits {
  /** Bytes of `{desired, reported}` as JSON. */
  readonly documentBytes: number;
  /** Levels of a section, itself included. */
  readonly depth: number;
}

const SECTIONS = ['desired', 'reported'] as const;
/** `{"desired":,"reported":}` */
const FRAME_BYTES = 24;
const EMPTY_BYTES = FRAME_BYTES + 4;
/** More than any limit. Not Infinity, because V8 keeps small integers in the object itself. */
const NOT_MEASURED = 2 ** 30 - 1;

type Patch = JsonObject | null | undefined;

export class ShadowDocument {
  desired: Section;
  reported: Section;
  /** Changes that were accepted; it outlives the document. */
  version = 0;
  /** Of the last accepted change, ms since 1970; it does not go back. */
  timestamp = 0;
  isDeleted = false;
  /** The delta's JSON, undefined where it is empty; null where it is not known. */
  #deltaText: string | undefined | null = null;
  /** At least the bytes of `{desired, reported}`: each patch adds what it can add at most, until it is measured again. */
  #bytes: number;

  constructor(desired?: Section, reported?: Section) {
    this.#bytes = desired === undefined && reported === undefined ? EMPTY_BYTES : NOT_MEASURED;
    this.desired = desired ?? new Section();
    this.reported = reported ?? new Section();
  }

  /**
   * Merges a report.
   * @returns false where all of it is older than what is there
   * @throws RequestError 400, 413, with nothing changed
   */
  applyReport(report: JsonObject | null, timeMs: number, limits: DocumentLimits): boolean {
    const growth = report === null ? 0 : checkPatch(report, 'reported', limits.depth);
    if (this.#fits(growth, limits)) {
      const merge = this.reported.merge(report, timeMs);
      if (!merge.changed) return false;
      this.#bytes += growth - merge.replaced;
    } else {
      const reported = this.reported.clone();
      if (!reported.merge(report, timeMs).changed) return false;
      this.#adopt(this.desired, reported, limits);
    }
    this.#accept(timeMs);
    return true;
  }

  /**
   * What a report of this time looks like that can be taken by takeRow(): one of the fields that are reported, all numbers
   * and none of them newer. Such reports are accepted whatever their numbers are.
   * @returns undefined where reports have to be merged
   */
  templateAt(timeMs: number, limits: DocumentLimits): ReportTemplate | undefined {
    const { root } = this.reported;
    if (!root.isNumbersUntil(timeMs)) return undefined;
    const { template } = root.names;
    return this.#fits(template.maxBytes, limits) ? template : undefined;
  }

  /** Merges the reports of a row, which has the template that was given since the last change. */
  takeRow(rows: ReportRows, row: number): void {
    const timeMs = rows.timeMs(row);
    this.reported.root.setNumbers(rows.doubles, rows.numbersStart(row), timeMs);
    this.#bytes += rows.template(row).maxBytes;
    this.version += rows.count(row) - 1;
    this.#accept(timeMs);
  }

  /**
   * Merges a request's sections.
   * @returns the accepted part: `{state, metadata, version, timestamp}`
   * @throws RequestError 400, 409, 413, with nothing changed
   */
  update({ desired, reported, version }: ShadowUpdate, nowMs: number, limits: DocumentLimits): JsonObject {
    const current = this.isDeleted ? 0 : this.version;
    if (version !== undefined && version !== current) throw new RequestError(409, 'Version conflict');
    const growths = [desired, reported].map((patch, at) =>
      patch === undefined || patch === null ? 0 : checkPatch(patch, SECTIONS[at]!, limits.depth),
    );
    const fits = this.#fits(growths[0]! + growths[1]!, limits);
    const sections = fits ? this : { desired: this.desired.clone(), reported: this.reported.clone() };
    const state = emptyObject();
    const metadata = emptyObject();
    for (const [at, name] of SECTIONS.entries()) {
      const patch: Patch = at === 0 ? desired : reported;
      if (patch === undefined) continue;
      const section = sections[name];
      const timeMs = Math.max(nowMs, section.newestMs);
      const { replaced } = section.merge(patch, timeMs);
      if (fits) this.#bytes += growths[at]! - replaced;
      state[name] = patch;
      if (patch !== null) metadata[name] = patchMetadata(patch, timeMs);
    }
    if (!fits) this.#adopt(sections.desired, sections.reported, limits);
    this.#accept(nowMs);
    return { state, metadata, version: this.version, timestamp: nowMs };
  }

  /** Removes it; its version stays. @returns `{version, timestamp}` of what is gone */
  delete(nowMs: number): JsonObject {
    this.desired.clear();
    this.reported.clear();
    this.isDeleted = true;
    this.timestamp = nowMs;
    this.#bytes = EMPTY_BYTES;
    this.#deltaText = null;
    return { version: this.version, timestamp: nowMs };
  }

  /** `{state, metadata, version, timestamp}`; sections that are empty are left out. */
  view(): Record<string, JsonObject | number> {
    const state = emptyObject();
    const metadata = emptyObject();
    for (const name of SECTIONS) {
      const { root } = this[name];
      if (root.isEmpty) continue;
      state[name] = root.toJson();
      metadata[name] = root.metadata();
    }
    const delta = this.desired.root.differenceFrom(this.reported.root);
    if (delta !== undefined) state['delta'] = delta;
    return { state, metadata, version: this.version, timestamp: this.timestamp };
  }

  /** JSON of what is desired and not reported so; undefined where there is nothing. */
  deltaText(): string | undefined {
    if (this.desired.root.isEmpty) return undefined;
    if (this.#deltaText === null) {
      const delta = this.desired.root.differenceFrom(this.reported.root);
      this.#deltaText = delta === undefined ? undefined : JSON.stringify(delta);
    }
    return this.#deltaText;
  }

  /** True where a patch cannot bring the document over its limit. */
  #fits(growth: number, { documentBytes }: DocumentLimits): boolean {
    if (this.#bytes + growth <= documentBytes) return true;
    this.#bytes = FRAME_BYTES + this.desired.root.jsonBytes() + this.reported.root.jsonBytes();
    return this.#bytes + growth <= documentBytes;
  }

  /** Takes merged copies, unless they have made it larger than it may be. */
  #adopt(desired: Section, reported: Section, { documentBytes }: DocumentLimits): void {
    const bytes = sizeOf(desired, reported);
    // A document from before the limit was lowered may stay as large as it is.
    if (bytes > documentBytes && bytes > sizeOf(this.desired, this.reported)) {
      throw new RequestError(
        413,
        `The payload exceeds the maximum size allowed: the document would have ${bytes} bytes of at most ${documentBytes}`,
      );
    }
    this.desired = desired;
    this.reported = reported;
    this.#bytes = NOT_MEASURED;
  }

  #accept(timeMs: number): void {
    this.version++;
    this.isDeleted = false;
    this.#deltaText = null;
    if (timeMs > this.timestamp) this.timestamp = timeMs;
  }
}

/** Bytes of JSON.stringify({desired, reported}), empty sections left out. */
function sizeOf(desired: Section, reported: Section): number {
  let bytes = 2;
  for (const [at, section] of [desired, reported].entries()) {
    if (section.root.isEmpty) continue;
    bytes += (bytes > 2 ? 1 : 0) + SECTIONS[at]!.length + 3 + section.root.jsonBytes();
  }
  return bytes;
}
