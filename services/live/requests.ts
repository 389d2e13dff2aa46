/**
 * What a client may say:
 *
 *   {"subscribe": {"devices": ["engine-1"], "types": ["turbofan"], "sites": ["hamburg"]}}     and "unsubscribe" likewise
 *   {"subscribe": "*"}     everything; "*" in a list says the same. {"unsubscribe": "*"}: nothing any more
 *
 * Lists that are left out are empty. A client gets what matches any of its subscriptions, once.
 */

export type Topic = 'devices' | 'types' | 'sites';
export const TOPICS: readonly Topic[] = ['devices', 'types', 'sites'];

export const ALL = '*';

export interface Request {
  readonly action: 'subscribe' | 'unsubscribe';
  /** True where everything is meant. */
  readonly all: boolean;
  readonly names: Readonly<Record<Topic, readonly string[]>>;
}

export type RequestErrorCode = 'bad_json' | 'bad_message' | 'too_many';

/** Why a request was not done; nothing of it was. */
export interface RequestError {
  readonly code: RequestErrorCode;
  readonly message: string;
}

const NO_NAMES: Request['names'] = { devices: [], types: [], sites: [] };
const MAX_NAME_LENGTH = 256;
const USAGE = 'say {"subscribe":{"devices":[…],"types":[…],"sites":[…]}}, {"subscribe":"*"}, or "unsubscribe" likewise';

/** Reads a message of a client. */
export function readRequest(text: string): Request | RequestError {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { code: 'bad_json', message: `this is not JSON; ${USAGE}` };
  }
  const keys = isObject(value) ? Object.keys(value) : [];
  const action = keys[0];
  if (!isObject(value) || keys.length !== 1 || (action !== 'subscribe' && action !== 'unsubscribe')) {
    return bad(`a message has one key; ${USAGE}`);
  }
  const what = value[action];
  if (what === ALL) return { action, all: true, names: NO_NAMES };
  return isObject(what) ? readNames(action, what) : bad(USAGE);
}

function readNames(action: Request['action'], lists: Readonly<Record<string, unknown>>): Request | RequestError {
  const names: Record<Topic, readonly string[]> = { ...NO_NAMES };
  let all = false;
  for (const [key, list] of Object.entries(lists)) {
    const topic = TOPICS.find((name) => name === key);
    if (topic === undefined) return bad(`${JSON.stringify(key.slice(0, 40))} is none of ${TOPICS.join(', ')}`);
    if (!isNames(list)) return bad(`"${topic}" must be a list of names of 1 to ${MAX_NAME_LENGTH} characters`);
    all ||= list.includes(ALL);
    names[topic] = list.filter((name) => name !== ALL);
  }
  return { action, all, names };
}

function isNames(value: unknown): value is string[] {
  const isName = (name: unknown): boolean =>
    typeof name === 'string' && name.length > 0 && name.length <= MAX_NAME_LENGTH;
  return Array.isArray(value) && value.every(isName);
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function bad(message: string): RequestError {
  return { code: 'bad_message', message };
}
