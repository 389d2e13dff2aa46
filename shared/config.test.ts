import { test } from 'tap';
import {
  address,
  bytes,
  choice,
  databaseUrl,
  describeFields,
  duration,
  endpoint,
  flag,
  inheritedEnvironment,
  integer,
  isLoopback,
  list,
  optional,
  readConfig,
  secret,
  text,
  type Field,
} from './config.js';
import { HoldfastError } from './errors.js';

/** What a field makes of texts: the value, or undefined where it is not allowed. */
function parses<T>(field: Field<T>, cases: Readonly<Record<string, T | undefined>>): Record<string, T | undefined> {
  return Object.fromEntries(Object.keys(cases).map((value) => [value, field.parse(value)]));
}

/** The message of the error that reading throws. */
function problemsOf(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (error instanceof HoldfastError && error.code === 'bad_config') return error.message;
    throw error;
  }
  throw new Error('nothing was wrong');
}

void test('every kind of field takes what it allows and nothing else', (t) => {
  const check = <T>(field: Field<T>, cases: Readonly<Record<string, T | undefined>>): void => {
    t.strictSame(parses(field, cases), cases, field.allowed);
    if (field.fallback !== undefined) t.not(field.parse(field.fallback), undefined, 'its own default is allowed');
  };
  check(text('X', 'a', ''), { a: 'a', ' ': ' ', '': undefined });
  check(integer('X', 5, 1, 100, ''), {
    1: 1,
    100: 100,
    0: undefined,
    101: undefined,
    '1.5': undefined,
    '-1': undefined,
  });
  check(integer('X', 5, 1, 100, ''), {
    '': undefined,
    ' 5': undefined,
    '5x': undefined,
    '0x5': undefined,
    '1e1': undefined,
  });
  check(bytes('X', '1KiB', 10, 2 ** 40, ''), {
    10: 10,
    '1KiB': 1_024,
    '3MiB': 3 * 2 ** 20,
    '2GiB': 2 ** 31,
    '1TiB': 2 ** 40,
    9: undefined,
    '2TiB': undefined,
    '1KB': undefined,
    '1 KiB': undefined,
    '1.5GiB': undefined,
    '': undefined,
    KiB: undefined,
  });
  check(duration('X', '1s', 10, 86_400_000, ''), {
    '10ms': 10,
    '5s': 5_000,
    '1m': 60_000,
    '2h': 7_200_000,
    '1d': 86_400_000,
    '9ms': undefined,
    '2d': undefined,
    5: undefined,
    '': undefined,
    '1w': undefined,
  });
  check(flag('X', false, ''), { true: true, false: false, TRUE: undefined, 1: undefined, '': undefined });
  check(choice('X', 'a', ['a', 'b'], ''), { a: 'a', b: 'b', c: undefined, '': undefined });
  check<readonly string[]>(list('X', 'a', /^[a-z]+$/, ''), {
    '': [],
    a: ['a'],
    'a,b': ['a', 'b'],
    'a, b': ['a', 'b'],
    'a,,b': undefined,
    'a,B': undefined,
  });
  check(address('X', '127.0.0.1:80', ''), {
    '0.0.0.0:0': { host: '0.0.0.0', port: 0 },
    '[::1]:7300': { host: '::1', port: 7300 },
    'edge.local:65535': { host: 'edge.local', port: 65_535 },
    'edge:65536': undefined,
    ':80': undefined,
    'edge:': undefined,
    edge: undefined,
    '::1:80': undefined,
    'http://edge:80': undefined,
  });
  check(endpoint('X', 'tcp://127.0.0.1:1', ''), {
    'tcp://127.0.0.1:7310': 'tcp://127.0.0.1:7310',
    'tcp://*:7310': 'tcp://*:7310',
    'tcp://[::1]:7310': 'tcp://[::1]:7310',
    'tcp://127.0.0.1:70000': undefined,
    'ipc:///tmp/x': undefined,
    'tcp://host': undefined,
    'host:7310': undefined,
  });
  check(databaseUrl('X', undefined, ''), {
    'postgres://user:password@host:5432/database': 'postgres://user:password@host:5432/database',
    'postgresql://host/database': 'postgresql://host/database',
    'mysql://host/database': undefined,
    'postgres://': undefined,
    host: undefined,
  });
  check(secret('X', ''), { '0123456789abcdef': '0123456789abcdef', '0123456789abcde': undefined, '': undefined });
  t.end();
});

const fields = {
  listen: address('TEST_LISTEN', '127.0.0.1:7300', 'where it listens'),
  quotaBytes: bytes('TEST_QUOTA', '1GiB', 2 ** 20, 2 ** 40, 'how much it keeps'),
  path: text('TEST_PATH', undefined, 'where it keeps it'),
  key: secret('TEST_SECRET', 'what nobody may see'),
  database: databaseUrl('TEST_DATABASE', 'postgres://u:hunter2@h/d', 'where rows go'),
} as const;

void test('values come from the environment, else from the defaults; what may be absent is undefined', (t) => {
  const config = readConfig('TEST', fields, undefined, { TEST_PATH: '/data', TEST_QUOTA: '2MiB', OTHER_KEY: 'x' });
  t.strictSame(
    { ...config },
    {
      listen: { host: '127.0.0.1', port: 7300 },
      quotaBytes: 2 ** 21,
      path: '/data',
      key: undefined,
      database: 'postgres://u:hunter2@h/d',
    },
  );
  t.end();
});

void test('every bad key is reported at once: the key, its value and what is allowed', (t) => {
  const environment = { TEST_LISTEN: 'nowhere', TEST_QUOTA: '5', TEST_QOUTA: '1GiB' };
  const problems = problemsOf(() => readConfig('TEST', fields, undefined, environment));
  t.equal(problems.split('\n').length, 5, 'a heading and four problems');
  t.match(problems, 'TEST_LISTEN="nowhere" is not allowed; allowed: host:port, as 127.0.0.1:7300 or [::]:7300');
  t.match(problems, `TEST_QUOTA="5" is not allowed; allowed: a size from ${2 ** 20}`);
  t.match(problems, 'TEST_PATH is not set; allowed: text, not empty');
  t.match(problems, 'TEST_QOUTA is not a key of this service; its keys are TEST_LISTEN, TEST_QUOTA, TEST_PATH');
  t.end();
});

void test('a secret is never shown, right or wrong', (t) => {
  const environment = { TEST_PATH: 'x', TEST_SECRET: 'too short', TEST_DATABASE: 'mysql://u:hunter2@h/d' };
  const problems = problemsOf(() => readConfig('TEST', fields, undefined, environment));
  t.match(problems, 'TEST_SECRET=(hidden) is not allowed');
  t.match(problems, 'TEST_DATABASE=(hidden) is not allowed');
  t.notMatch(problems, /too short|hunter2/);
  t.end();
});

void test('what Kubernetes sets for a Service of the same name is not taken for a key of ours', (t) => {
  const links = {
    TEST_SERVICE_HOST: '10.0.0.1',
    TEST_SERVICE_PORT: '7310',
    TEST_SERVICE_PORT_INTAKE: '7310',
    TEST_PORT: 'tcp://10.0.0.1:7310',
    TEST_PORT_7310_TCP: 'tcp://10.0.0.1:7310',
    TEST_PORT_7310_TCP_PROTO: 'tcp',
    TEST_PORT_7310_TCP_PORT: '7310',
    TEST_PORT_7310_TCP_ADDR: '10.0.0.1',
    TEST_PORT_5000_UDP_ADDR: '10.0.0.1',
  };
  t.ok(readConfig('TEST', fields, undefined, { TEST_PATH: 'x', ...links }));
  const problems = problemsOf(() => readConfig('TEST', fields, undefined, { TEST_PATH: 'x', TEST_REPORT: 'x' }));
  t.match(problems, 'TEST_REPORT is not a key');
  t.end();
});

void test('what fields must satisfy together is looked at when each is right by itself', (t) => {
  let calls = 0;
  const check = (config: { quotaBytes: number }): string[] => {
    calls++;
    return [`a quota of ${config.quotaBytes} is odd`, 'and so is the rest'];
  };
  t.match(
    problemsOf(() => readConfig('TEST', fields, check, { TEST_PATH: 'x' })),
    /a quota of 1073741824 is odd\n {2}and so is the rest/,
  );
  problemsOf(() => readConfig('TEST', fields, check, {}));
  t.equal(calls, 1);
  t.end();
});

void test('--help names every key, its default, what it is for and what is allowed', (t) => {
  const help = describeFields(fields);
  for (const { key, about, allowed } of Object.values(fields)) {
    t.match(help, key);
    t.match(help, `${about} (${allowed})`);
  }
  t.match(help, 'TEST_QUOTA=1GiB');
  t.end();
});

void test('only addresses of this machine alone are loopback', (t) => {
  for (const host of ['localhost', '127.0.0.1', '127.1.2.3', '::1']) t.ok(isLoopback(host), host);
  for (const host of ['0.0.0.0', '::', '10.0.0.1', '127.0.0.1.evil.com', 'localhost.evil.com', '1127.0.0.1', '']) {
    t.notOk(isLoopback(host), host);
  }
  t.end();
});

void test('a child gets the environment as it is, and an optional field has no default', (t) => {
  t.type(inheritedEnvironment()['PATH'], 'string');
  t.equal(optional({ key: 'X', about: '', allowed: '', parse: () => 1 }).fallback, undefined);
  t.end();
});
