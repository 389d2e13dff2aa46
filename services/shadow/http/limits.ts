/**
 * What a request may hold. The checks and the OpenAPI document both read it from here, so that neither can promise what the
 * other does not keep.
 */

import { MAX_COMMAND_BYTES } from '../command-request.js';

/** A thing is a device as shadow knows it; its id is the device's. */
export const THING_ID = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$/;
export const SHADOW_NAME = /^[$a-zA-Z0-9:_-]{1,64}$/;
/** A UUID of version 7, in lower case. */
export const COMMAND_ID = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
export const COMMAND_NAME = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$/;
/** base64url of the last item of the page before, which has up to 128 characters. */
export const PAGE_TOKEN = /^[A-Za-z0-9_-]{1,171}$/;

export const LIMITS = {
  pageSize: { min: 1, max: 100, default: 25 },
  clientTokenBytes: 64,
  /** Of type and site, in characters. */
  labelLength: 256,
  version: { min: 0, max: Number.MAX_SAFE_INTEGER },
  ttlSeconds: { min: 1, max: 2_592_000, default: 86_400 },
  /** Of a command's data, written as JSON without spaces. */
  commandDataBytes: MAX_COMMAND_BYTES,
  /** Things that are named in one request. */
  things: 10_000,
  /** Objects and arrays inside each other in a body, whatever is in them; shadow documents have a lower limit of their own. */
  bodyDepth: 80,
} as const;

/** A body limit that the longest list of things fits into, with room for data and spaces. */
export const BODY_BYTES = 2 * 1024 * 1024;
