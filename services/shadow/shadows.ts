/** What applications ask of shadows: documents of things, and lists of things. */
import { RequestError } from './request-error.js';
import type { JsonObject } from './json.js';
import {
  CLASSIC,
  type Listed,
  type Page,
  type ShadowApi,
  type ShadowUpdate,
  type ThingFilter,
  type ThingSummary,
} from './api.js';
import type { Store } from './store.js';
import type { DocumentLimits } from './thing.js';
import type { ThingsApi } from './things-api.js';

/** Things that are looked at for one page: a filter that few match gives pages that hold little, and says what comes next. */
const LISTED_A_REQUEST = 10_000;
const LISTED_A_READ = 1_000;

export class Shadows implements Pick<
  ShadowApi,
  'getShadow' | 'updateShadow' | 'deleteShadow' | 'listNames' | 'listThings'
> {
  constructor(
    private readonly things: ThingsApi,
    private readonly store: Store,
    private readonly limits: DocumentLimits,
  ) {}

  async getShadow(id: string, name: string): Promise<JsonObject> {
    const [thing] = await this.things.get([id]);
    const view = thing!.view(name);
    if (view !== undefined) return view;
    const full = name === CLASSIC ? id : `${id}~${name}`;
    throw new RequestError(404, `No shadow exists with name: '${full}'`);
  }

  updateShadow(id: string, name: string, update: ShadowUpdate): Promise<JsonObject> {
    return this.things.change([id], [], ([thing]) => thing!.update(name, update, Date.now(), this.limits));
  }

  deleteShadow(id: string, name: string): Promise<JsonObject> {
    return this.things.change([id], [], ([thing]) => thing!.delete(name, Date.now()));
  }

  async listNames(id: string, { pageSize, after }: Page): Promise<Listed<string>> {
    const [thing] = await this.things.get([id]);
    const names = thing!.names().filter((name) => name > after);
    const items = names.slice(0, pageSize);
    return { items, next: names.length > pageSize ? items.at(-1) : undefined };
  }

  /** What was written last: a thing that has come online this moment may be listed a moment later. */
  async listThings(filter: ThingFilter, { pageSize, after }: Page): Promise<Listed<ThingSummary>> {
    const items: ThingSummary[] = [];
    let last = after;
    for (let looked = 0; looked < LISTED_A_REQUEST; looked += LISTED_A_READ) {
      const listed = await this.store.list(last, LISTED_A_READ);
      for (const { thing, entry } of listed) {
        if (items.length === pageSize) return { items, next: last };
        last = thing;
        if (matches(entry, filter)) items.push({ thing, ...entry });
      }
      if (listed.length < LISTED_A_READ) return { items, next: undefined };
    }
    return { items, next: last };
  }
}

function matches(entry: Omit<ThingSummary, 'thing'>, { connected, type, site }: ThingFilter): boolean {
  if (connected !== undefined && entry.connected !== connected) return false;
  if (type !== undefined && entry.type !== type) return false;
  return site === undefined || entry.site === site;
}
