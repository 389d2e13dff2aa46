/** What stands in a request's URL: path segments and query, decoded and checked. Whatever is not understood is refused. */
import type { Page } from '../api.js';
import { CLASSIC, type ThingFilter } from '../api.js';
import { RequestError } from '../request-error.js';
import { quoted } from './json-body.js';
import { LIMITS, PAGE_TOKEN, SHADOW_NAME } from './limits.js';

export type Query = ReadonlyMap<string, string>;

/**
 * @param text what follows the question mark; '' where nothing does
 * @throws RequestError 400 for a key that is not allowed or comes twice
 */
export function readQuery(text: string, allowed: readonly string[]): Query {
  const query = new Map<string, string>();
  if (text === '') return query;
  for (const pair of text.split('&')) {
    const equals = pair.indexOf('=');
    const key = decode(equals < 0 ? pair : pair.slice(0, equals));
    const value = equals < 0 ? '' : decode(pair.slice(equals + 1));
    if (key === undefined || value === undefined) {
      throw new RequestError(400, `${quoted(pair)} in the query is not percent-encoded UTF-8`);
    }
    if (!allowed.includes(key)) {
      const allowance = allowed.length === 0 ? 'none is' : `allowed: ${allowed.join(', ')}`;
      throw new RequestError(400, `${quoted(key)} is not a query parameter of this path; ${allowance}`);
    }
    if (query.has(key)) throw new RequestError(400, `the query parameter ${key} is given twice`);
    query.set(key, value);
  }
  return query;
}

/** @throws RequestError 400 */
export function readSegment(name: string, text: string, pattern: RegExp): string {
  const value = decodePercent(text);
  if (value === undefined || !pattern.test(value)) {
    throw new RequestError(400, `the ${name} in the path must match ${pattern.source}`);
  }
  return value;
}

/**
 * @param pattern what the items of the list look like
 * @throws RequestError 400
 */
export function readPage(query: Query, pattern: RegExp): Page {
  const size = query.get('pageSize') ?? String(LIMITS.pageSize.default);
  const pageSize = /^\d{1,4}$/.test(size) ? Number(size) : Number.NaN;
  const { min, max } = LIMITS.pageSize;
  if (!(pageSize >= min && pageSize <= max)) {
    throw new RequestError(400, `pageSize must be a whole number from ${min} to ${max}`);
  }
  const token = query.get('nextToken');
  if (token === undefined) return { pageSize, after: '' };
  const after = PAGE_TOKEN.test(token) ? Buffer.from(token, 'base64url').toString('latin1') : '';
  if (!pattern.test(after) || pageToken(after) !== token) {
    throw new RequestError(400, 'nextToken is none that this list has given');
  }
  return { pageSize, after };
}

/** The nextToken for a list that goes on after an item. */
export function pageToken(after: string): string {
  return Buffer.from(after, 'latin1').toString('base64url');
}

/** @throws RequestError 400 */
export function readShadowName(query: Query): string {
  const name = query.get('name');
  if (name === undefined) return CLASSIC;
  if (!SHADOW_NAME.test(name)) throw new RequestError(400, `name must match ${SHADOW_NAME.source}`);
  return name;
}

/** @throws RequestError 400 */
export function readFilter(query: Query): ThingFilter {
  const connected = query.get('connected');
  if (connected !== undefined && connected !== 'true' && connected !== 'false') {
    throw new RequestError(400, 'connected must be true or false');
  }
  return {
    connected: connected === undefined ? undefined : connected === 'true',
    type: readLabel('type', query.get('type')),
    site: readLabel('site', query.get('site')),
  };
}

/** A type or a site. @throws RequestError 400 */
export function readLabel(name: string, value: unknown): string | undefined {
  if (value === undefined) return undefined;
  if (typeof value === 'string' && value !== '' && Array.from(value).length <= LIMITS.labelLength) return value;
  throw new RequestError(400, `${name} must be text of 1 to ${LIMITS.labelLength} characters`);
}

function decode(text: string): string | undefined {
  return decodePercent(text.replaceAll('+', ' '));
}

function decodePercent(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    // Not percent-encoded text; whoever asked says what that means there.
    return undefined;
  }
}
