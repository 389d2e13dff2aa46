/** Lists of things and of a thing's named shadows. */
import { jsonAnswer } from './answers.js';
import { SHADOW_NAME, THING_ID } from './limits.js';
import { pageToken, readFilter, readPage } from './query.js';
import type { Route } from './routes.js';

/** The field that a list has where it goes on. */
export function nextField(next: string | undefined): { readonly nextToken?: string } {
  return next === undefined ? {} : { nextToken: pageToken(next) };
}

export const thingRoutes: readonly Route[] = [
  {
    method: 'GET',
    path: '/things',
    query: ['connected', 'type', 'site', 'pageSize', 'nextToken'],
    async handle(api, { query }) {
      const { items, next } = await api.listThings(readFilter(query), readPage(query, THING_ID));
      const things = items.map(({ thing, connected, type, site }) => ({ thing, connected, type, site }));
      return jsonAnswer({ things, ...nextField(next) });
    },
  },
  {
    method: 'GET',
    path: '/api/things/shadow/ListNamedShadowsForThing/{thing}',
    query: ['pageSize', 'nextToken'],
    async handle(api, { thing, query }) {
      const { items, next } = await api.listNames(thing, readPage(query, SHADOW_NAME));
      return jsonAnswer({ results: items, timestamp: Date.now(), ...nextField(next) });
    },
  },
];
