/** The paths and methods that there are, each with what it does. The OpenAPI document has the same, by its own words. */
import type { ShadowApi } from '../api.js';
import type { Json } from '../json.js';
import type { Answer } from './answers.js';
import { commandRoutes } from './command-routes.js';
import { COMMAND_ID, THING_ID } from './limits.js';
import { readSegment, type Query } from './query.js';
import { shadowRoutes } from './shadow-routes.js';
import { thingRoutes } from './thing-routes.js';

/** A request that was read and belongs to a route; a segment that the path does not have is ''. */
export interface ApiRequest {
  readonly thing: string;
  readonly id: string;
  readonly query: Query;
  /** Of a POST, as JSON. */
  readonly body: Json | undefined;
}

export interface Route {
  readonly method: 'GET' | 'POST' | 'DELETE';
  /** As in the OpenAPI document: `{thing}` and `{id}` stand for a segment. */
  readonly path: string;
  /** The query parameters that there may be. */
  readonly query: readonly string[];
  /** @throws RequestError; HoldfastError where the service cannot serve */
  handle(api: ShadowApi, request: ApiRequest): Promise<Answer>;
}

/** The routes of one path, and its variable segments, still encoded. */
export interface Matched {
  readonly routes: readonly Route[];
  readonly segments: Readonly<Record<string, string>>;
}

export const ROUTES: readonly Route[] = [...thingRoutes, ...shadowRoutes, ...commandRoutes];

interface Pattern {
  readonly segments: readonly string[];
  readonly routes: readonly Route[];
}

const PATTERNS: readonly Pattern[] = [...new Set(ROUTES.map((route) => route.path))].map((path) => ({
  segments: path.split('/'),
  routes: ROUTES.filter((route) => route.path === path),
}));
const MOST_SEGMENTS = Math.max(...PATTERNS.map((pattern) => pattern.segments.length));

/** @returns undefined where there is no such path */
export function matchPath(path: string): Matched | undefined {
  const given = path.split('/', MOST_SEGMENTS + 1);
  for (const { segments, routes } of PATTERNS) {
    if (segments.length !== given.length) continue;
    const isMatch = segments.every((segment, index) => segment.startsWith('{') || segment === given[index]);
    if (!isMatch) continue;
    const variables = segments.flatMap((segment, index) =>
      segment.startsWith('{') ? [[segment.slice(1, -1), given[index]!] as const] : [],
    );
    return { routes, segments: Object.fromEntries(variables) };
  }
  return undefined;
}

/** The variable segments of a path. @throws RequestError 400 */
export function readSegments({ segments }: Matched): Pick<ApiRequest, 'thing' | 'id'> {
  const { thing, id } = segments;
  return {
    thing: thing === undefined ? '' : readSegment('thing', thing, THING_ID),
    id: id === undefined ? '' : readSegment('command id', id, COMMAND_ID),
  };
}

/** The value of an Allow header. */
export function allowOf(routes: readonly Pick<Route, 'method'>[]): string {
  const methods: string[] = routes.map((route) => route.method);
  if (methods.includes('GET')) methods.push('HEAD');
  return [...methods, 'OPTIONS'].join(', ');
}
