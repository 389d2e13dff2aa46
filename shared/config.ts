/**
 * Configuration: the only reader of process.env. A service declares its keys once, each with its parser, default and what
 * is allowed; reading reports every bad key at once (the key, the value, what is allowed), including keys of the
 * service's prefix that nobody reads, because a mistyped key would otherwise leave a default in force unseen.
 */
import { HoldfastError } from './errors.js';

/** One key: how its text is read, and what is said where that fails. */
export interface Field<T> {
  readonly key: string;
  /** The text used where the key is not set; undefined: the key may be absent and is then undefined or required. */
  readonly fallback: string | undefined;
  readonly allowed: string;
  /** What the key is for, for `--help`. */
  readonly about: string;
  /** True where the value must not be printed. */
  readonly secret?: boolean;
  /** @returns undefined where the text is not allowed */
  parse(text: string): T | undefined;
}

/** A field that may be absent: its value is undefined then. */
export interface OptionalField<T> extends Field<T> {
  readonly optional: true;
}

export type Fields = Readonly<Record<string, Field<unknown>>>;

export type Config<F extends Fields> = {
  readonly [K in keyof F]: F[K] extends OptionalField<infer T>
    ? T | undefined
    : F[K] extends Field<infer T>
      ? T
      : never;
};

/** A host and port to listen on. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** Keys that Kubernetes sets beside a Service of the same name; they are not meant for us. */
const SERVICE_LINK = /_(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT(_\d+_(TCP|UDP|SCTP)(_.+)?)?)$/;

/**
 * Reads `fields` from the environment.
 * @param prefix unknown keys that start with `<prefix>_` are errors
 * @param check what the fields must satisfy together: returns one sentence a problem
 * @throws HoldfastError bad_config that lists every problem
 */
export function readConfig<F extends Fields>(
  prefix: string,
  fields: F,
  check: (config: Config<F>) => readonly string[] = () => [],
  environment: Environment = process.env,
): Config<F> {
  const problems: string[] = [];
  // Not by adding key after key: V8 makes a dictionary of that, and services look at their options for every record.
  const values = Object.fromEntries(
    Object.entries(fields).map(([name, field]) => [name, readField(field, environment, problems)]),
  );
  const known = new Set(Object.values(fields).map((field) => field.key));
  for (const key of Object.keys(environment)) {
    if (key.startsWith(`${prefix}_`) && !known.has(key) && !SERVICE_LINK.test(key)) {
      problems.push(`${key} is not a key of this service; its keys are ${[...known].join(', ')}`);
    }
  }
  const config = values as Config<F>;
  if (problems.length === 0) problems.push(...check(config));
  if (problems.length > 0) {
    throw new HoldfastError('bad_config', `configuration:\n${problems.map((line) => `  ${line}`).join('\n')}`, false);
  }
  return config;
}

function readField(field: Field<unknown>, environment: Environment, problems: string[]): unknown {
  const given = environment[field.key];
  const text = given ?? field.fallback;
  if (text === undefined) {
    if (!('optional' in field)) problems.push(`${field.key} is not set; allowed: ${field.allowed}`);
    return undefined;
  }
  const value = field.parse(text);
  if (value === undefined) {
    const shown = field.secret === true ? '(hidden)' : JSON.stringify(text);
    problems.push(`${field.key}=${shown} is not allowed; allowed: ${field.allowed}`);
  }
  return value;
}

/** The keys of a service as lines for `--help`: key, default, what it is for and what is allowed. */
export function describeFields(fields: Fields): string {
  return Object.values(fields)
    .map((field) => `  ${field.key}=${field.fallback ?? ''}\n      ${field.about} (${field.allowed})`)
    .join('\n');
}

/** Makes a field optional: without the key its value is undefined. */
export function optional<T>(field: Omit<Field<T>, 'fallback'>): OptionalField<T> {
  return { ...field, fallback: undefined, optional: true };
}

/** Any text that is not empty. */
export function text(key: string, fallback: string | undefined, about: string): Field<string> {
  return { key, fallback, about, allowed: 'text, not empty', parse: (value) => (value === '' ? undefined : value) };
}

/** A secret of at least 16 characters; absent: undefined. */
export function secret(key: string, about: string): OptionalField<string> {
  const allowed = 'at least 16 characters';
  return optional({ key, about, allowed, secret: true, parse: (value) => (value.length >= 16 ? value : undefined) });
}

/** A whole number in [min, max]. */
export function integer(key: string, fallback: number, min: number, max: number, about: string): Field<number> {
  const parse = (value: string): number | undefined => {
    const number = /^\d{1,15}$/.test(value) ? Number(value) : Number.NaN;
    return number >= min && number <= max ? number : undefined;
  };
  return { key, fallback: String(fallback), about, allowed: `a whole number from ${min} to ${max}`, parse };
}

const BYTE_UNITS: Readonly<Record<string, number>> = { '': 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40 };

/** A size in bytes: `1048576`, `512KiB`, `4GiB`. */
export function bytes(key: string, fallback: string, min: number, max: number, about: string): Field<number> {
  const parse = (value: string): number | undefined => {
    const match = /^(\d{1,15})(KiB|MiB|GiB|TiB|)$/.exec(value);
    const size = match === null ? Number.NaN : Number(match[1]) * BYTE_UNITS[match[2]!]!;
    return size >= min && size <= max ? size : undefined;
  };
  return { key, fallback, about, allowed: `a size from ${min} to ${max}, as 1048576, 512KiB, 4GiB`, parse };
}

const TIME_UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** A duration in ms: `250ms`, `5s`, `1m`, `12h`, `90d`. */
export function duration(key: string, fallback: string, minMs: number, maxMs: number, about: string): Field<number> {
  const parse = (value: string): number | undefined => {
    const match = /^(\d{1,12})(ms|s|m|h|d)$/.exec(value);
    const timeMs = match === null ? Number.NaN : Number(match[1]) * TIME_UNITS[match[2]!]!;
    return timeMs >= minMs && timeMs <= maxMs ? timeMs : undefined;
  };
  return { key, fallback, about, allowed: `a time from ${minMs}ms to ${maxMs}ms, as 250ms, 5s, 1m, 12h, 90d`, parse };
}

/** `true` or `false`. */
export function flag(key: string, fallback: boolean, about: string): Field<boolean> {
  const parse = (value: string): boolean | undefined =>
    value === 'true' ? true : value === 'false' ? false : undefined;
  return { key, fallback: String(fallback), about, allowed: 'true or false', parse };
}

/** One of the given words. */
export function choice<T extends string>(key: string, fallback: T, words: readonly T[], about: string): Field<T> {
  return { key, fallback, about, allowed: words.join(', '), parse: (value) => words.find((word) => word === value) };
}

/** Words between commas, each matching `word`; empty text: an empty list. */
export function list(key: string, fallback: string, word: RegExp, about: string): Field<readonly string[]> {
  const parse = (value: string): readonly string[] | undefined => {
    const words = value === '' ? [] : value.split(',').map((part) => part.trim());
    return words.every((part) => word.test(part)) ? words : undefined;
  };
  return { key, fallback, about, allowed: `words between commas, each matching ${word.source}`, parse };
}

/** `host:port` to listen on; IPv6 hosts in brackets. */
export function address(key: string, fallback: string, about: string): Field<Address> {
  const parse = (value: string): Address | undefined => {
    const match = /^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):(\d{1,5})$/.exec(value);
    const port = match === null ? Number.NaN : Number(match[2]);
    return port <= 65_535 ? { host: match![1]!.replace(/^\[|\]$/g, ''), port } : undefined;
  };
  return { key, fallback, about, allowed: 'host:port, as 127.0.0.1:7300 or [::]:7300', parse };
}

/** `host:port` to listen on, or `off`. */
export function addressOrOff(key: string, fallback: string, about: string): Field<Address | 'off'> {
  const field = address(key, fallback, about);
  const parse = (value: string): Address | 'off' | undefined => (value === 'off' ? 'off' : field.parse(value));
  return { ...field, allowed: `${field.allowed}, or off`, parse };
}

/** A ZeroMQ endpoint over TCP. */
export function endpoint(key: string, fallback: string, about: string): Field<string> {
  const parse = (value: string): string | undefined => {
    const match = /^tcp:\/\/(?:\*|\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):(\d{1,5})$/.exec(value);
    return match !== null && Number(match[1]) <= 65_535 ? value : undefined;
  };
  return { key, fallback, about, allowed: 'a ZeroMQ endpoint, as tcp://127.0.0.1:7310', parse };
}

/** A PostgreSQL URL. */
export function databaseUrl(key: string, fallback: string | undefined, about: string): Field<string> {
  const parse = (value: string): string | undefined =>
    /^postgres(ql)?:\/\/\S+$/.test(value) && URL.canParse(value) ? value : undefined;
  return { key, fallback, about, allowed: 'postgres://user:password@host:port/database', secret: true, parse };
}

/** The environment of this process, for a child that reads its own keys from it. */
export function inheritedEnvironment(): Environment {
  return process.env;
}

/** True for addresses that only this machine can reach. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}

/** How a process logs; the same keys for every service. */
export const logFields = {
  logLevel: choice('LOG_LEVEL', 'info', ['trace', 'debug', 'info', 'warn', 'error', 'fatal'], 'the least level logged'),
  logFormat: choice('LOG_FORMAT', 'auto', ['auto', 'json', 'text'], 'auto: text on a terminal, JSON elsewhere'),
} as const;
