/** Stub. */
import type { ShadowUpdate } from './api.js';
import type { JsonObject } from './json.js';
import type { ThingEntry } from './store.js';
export interface DocumentLimits {
  readonly documentBytes: number;
  readonly depth: number;
}
export class Thing {
  constructor(readonly id: string) {}
  isKnown = false;
  connected = false;
  type: string | null = null;
  site: string | null = null;
  pending: readonly string[] = [];
  revision = 0;
  setPending(ids: readonly string[]): void {
    this.pending = ids;
  }
  applyReport(_r: JsonObject | null, _t: number, _l: DocumentLimits): boolean {
    return true;
  }
  applyTelemetry(_b: Buffer, _s: number, _e: number, _m: number, _t: number, _q: number): void {
    return;
  }
  applyPresence(_o: boolean, _t: number, _s: string | undefined): void {
    return;
  }
  update(_n: string, _u: ShadowUpdate, _m: number, _l: DocumentLimits): JsonObject {
    return {};
  }
  delete(_n: string, _m: number): JsonObject {
    return {};
  }
  view(_n: string): JsonObject | undefined {
    return {};
  }
  names(): string[] {
    return [];
  }
  delta(): { readonly text: string; readonly version: number } | undefined {
    return undefined;
  }
  entry(): ThingEntry {
    return { connected: false, type: null, site: null };
  }
}
