import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'tap';
import { packagePath } from '../shared/paths.js';
import { problemsOfLayout, type Sources } from './support/layout.js';

const ROOMS = ['shared', 'services', 'test', 'bench'];

function readSources(): Sources {
  const paths = ROOMS.flatMap((room) =>
    readdirSync(packagePath(room), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .map((name) => `${room}/${name}`),
  );
  return new Map(paths.map((path) => [path, readFileSync(packagePath(path), 'utf8')]));
}

void test('the sources keep to the layout', (t) => {
  const sources = readSources();
  t.ok(sources.size > 50);
  t.strictSame(problemsOfLayout(sources), []);
  t.end();
});

/** Not as one word, so that this file does not break the rule. */
const ENVIRONMENT = ['process', 'env'].join('.');

/** Bad sources, and what is said of each. */
const planted: readonly (readonly [path: string, text: string, problem: string | undefined])[] = [
  ['shared/a.ts', "/** A. */\nimport { b } from '../services/edge/b.js';", 'shared/a.ts imports services/edge/b.js'],
  ['shared/a.ts', "/** A. */\nimport '../services/cli.js';", 'shared/a.ts imports services/cli.js'],
  ['shared/a.ts', "/** A. */\nimport { b } from '../test/support/b.js';", 'shared/a.ts imports test/support/b.js'],
  ['shared/queue/a.ts', "/** A. */\nexport * from '../../bench/b.js';", 'shared/queue/a.ts imports bench/b.js'],
  [
    'services/edge/a.ts',
    "/** A. */\nimport type { B } from '../router/b.js';",
    'services/edge/a.ts imports services/router/b.js',
  ],
  [
    'services/edge/a.ts',
    '/** A. */\nimport {\n  b,\n} from "../up/b.js";',
    'services/edge/a.ts imports services/up/b.js',
  ],
  ['services/edge/a.ts', "/** A. */\nawait import('../live/b.js');", 'services/edge/a.ts imports services/live/b.js'],
  [
    'services/edge/a.ts',
    "/** A. */\nnew URL('../live/b.js', import.meta.url);",
    'services/edge/a.ts imports services/live/b.js',
  ],
  ['services/edge/a.ts', "/** A. */\nimport { m } from '../cli.js';", 'services/edge/a.ts imports services/cli.js'],
  [
    'services/edge/a.test.ts',
    "import { b } from '../live/b.js';",
    'services/edge/a.test.ts imports services/live/b.js',
  ],
  ['services/edge/a.ts', `/** A. */\nconst x = ${ENVIRONMENT}.HOME;`, 'services/edge/a.ts reads the environment'],
  ['test/a.test.ts', `const x = ${ENVIRONMENT}['HOME'];`, 'test/a.test.ts reads the environment'],
  ['shared/a.ts', "/** A. */\nconsole.log('x');", 'shared/a.ts writes to the console'],
  ['shared/a.ts', "import { b } from './b.js';", 'shared/a.ts does not begin with its design'],
  ['shared/a.ts', '// A.\n/** A. */\n', 'shared/a.ts does not begin with its design'],
  ['test/support/a.ts', 'export const a = 1;', 'test/support/a.ts does not begin with its design'],
  ['services/edge/a.ts', `/** A. */${'\n'.repeat(300)}x();\n`, 'services/edge/a.ts has 301 lines'],

  ['shared/a.ts', `/** A, not ${ENVIRONMENT}. */\nimport { b } from './queue/b.js';\n// console.log('x')`, undefined],
  ['shared/config.ts', `/** A. */\nconst x = ${ENVIRONMENT};`, undefined],
  ['services/edge/a.ts', "/** A. */\nimport { b } from '../../shared/b.js';\nimport { c } from './c.js';", undefined],
  ['services/edge/a.test.ts', "import { b } from '../../test/support/b.js';\nimport { c } from './c.js';", undefined],
  ['services/cli.ts', "#!/usr/bin/env node\n/** A. */\nawait import('./edge/main.js');", undefined],
  ['services/up/a.ts', "/** A. */\nimport { b } from '../storage/b.js';", undefined],
  ['test/a.test.ts', "import { b } from '../services/edge/b.js';\nimport { c } from '../bench/c.js';", undefined],
  ['bench/a.ts', "/** A. */\nimport { b } from '../services/edge/b.js';\nconsole.log(b);", undefined],
  ['services/edge/a.test.ts', 'x();\n'.repeat(400), undefined],
];

void test('every rule fires on a source that breaks it, and on no other', (t) => {
  for (const [path, text, problem] of planted) {
    t.strictSame(problemsOfLayout(new Map([[path, text]])), problem === undefined ? [] : [problem], path);
  }
  t.end();
});
