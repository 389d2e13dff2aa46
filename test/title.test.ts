import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { test } from 'tap';
import { inheritedEnvironment } from '../shared/config.js';
import { packagePath } from '../shared/paths.js';
import { VERSION } from '../shared/version.js';
import { freePorts } from './support/ports.js';
import { until } from './support/processes.js';

/** Linux cuts longer first lines, and older ones at this many bytes. */
const MAX_FIRST_LINE = 127;
/** `holdfast-edge 99.99.99 :65535 devices=1000000 queued=100000000`. */
const LONG_TITLE = 64;

const hasProc = process.platform === 'linux' ? {} : { skip: 'process titles are read from /proc' };

void test('ps shows the whole title of a service that was started as holdfast <service>', hasProc, async (t) => {
  const cli = packagePath('dist', 'services', 'cli.js');
  const [line, interpreter, argument] = /^#!(\S+) (.+)/.exec(readFileSync(cli, 'utf8'))!;
  t.ok(line.length <= MAX_FIRST_LINE);
  t.ok(argument!.length > LONG_TITLE, 'there is room for long titles, however short the rest of the command line is');
  const [port, admin] = (await freePorts(2)) as [number, number];
  const keys = { LIVE_LISTEN: `127.0.0.1:${port}`, LIVE_ADMIN_LISTEN: `127.0.0.1:${admin}` };
  const env = { ...inheritedEnvironment(), ...keys, LIVE_ROUTER_PUBLISH: 'tcp://127.0.0.1:1' };
  // What the kernel does with the first line: the interpreter gets all that follows as one argument.
  const service = spawn(interpreter!, [argument!, cli, 'live'], { env, stdio: 'ignore' });
  const exit = once(service, 'exit');
  t.teardown(() => service.kill('SIGKILL'));
  const commandLine = (): string => readFileSync(`/proc/${service.pid!}/cmdline`, 'latin1');
  await until(() => commandLine().startsWith(`holdfast-live ${VERSION}`));
  t.equal(commandLine().replace(/\0+$/, ''), `holdfast-live ${VERSION} :${port} clients=0`);
  service.kill('SIGTERM');
  t.strictSame(await exit, [0, null]);
});
