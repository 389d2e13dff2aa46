/**
 * Whom the embedded PostgreSQL runs as, and through what.
 *
 * PostgreSQL refuses to run as root, so root starts it as another user: the owner of the data directory, else `postgres`,
 * else `nobody`. util-linux' `setpriv` does that by exec, so that the child's pid is PostgreSQL's own. It also asks the
 * kernel to send SIGINT (a fast shutdown) when the parent dies, however it dies.
 *
 * The package may lie where that user cannot go (below /root, or a 0700 directory of mktemp). Then, and only then, the
 * capability to read and search any directory goes with it, as an ambient one, because a plain one does not survive exec;
 * `no_setuid_fixup`, because PostgreSQL looks at its own executable with access(2), which drops the capabilities of
 * whoever is not root without it.
 */
import { execFile } from 'node:child_process';
import { access, constants, readFile, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { HoldfastError, messageOf } from '../../shared/errors.js';

/** The narrower first, with their bits in /proc/self/status. Only the second lets a user run what is not theirs to run. */
const SEARCH_CAPABILITIES = [
  { name: '+dac_read_search', bit: 2n, runs: false },
  { name: '+dac_override', bit: 1n, runs: true },
] as const;

/** A user to run as; undefined: whoever runs this process. */
export interface RunAs {
  readonly uid: number;
  readonly gid: number;
}

/**
 * The user for a data directory.
 * @returns undefined where this process is not root's
 * @throws HoldfastError start_failed where root has nobody to run PostgreSQL as
 */
export async function runAsFor(directory: string): Promise<RunAs | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const owner = await stat(directory).catch(ignoreMissing);
  if (owner !== undefined) {
    if (owner.uid !== 0) return { uid: owner.uid, gid: owner.gid };
    const fix = 'give it to another user (chown -R postgres)';
    throw new HoldfastError(
      'start_failed',
      `${directory} belongs to root, as whom PostgreSQL cannot run: ${fix}`,
      false,
    );
  }
  const users = await readFile('/etc/passwd', 'utf8');
  for (const name of ['postgres', 'nobody']) {
    const match = new RegExp(`^${name}:[^:]*:(\\d+):(\\d+):`, 'm').exec(users);
    if (match !== null) return { uid: Number(match[1]), gid: Number(match[2]) };
  }
  throw new HoldfastError(
    'start_failed',
    'PostgreSQL cannot run as root, and there is no user postgres or nobody',
    false,
  );
}

/**
 * The words to put before a PostgreSQL command line, so that it runs as `user` and ends with its parent.
 * @param executable what the user must be able to run
 * @param directory what the user must be able to reach
 * @throws HoldfastError start_failed where root has no `setpriv`, or may not give the capability that is needed
 */
export async function launchPrefix(
  user: RunAs | undefined,
  executable: string,
  directory: string,
): Promise<readonly string[]> {
  const setpriv = await findSetpriv();
  if (user === undefined) return setpriv === undefined ? [] : [setpriv, '--pdeathsig', 'SIGINT', '--'];
  if (setpriv === undefined) {
    const fix = 'install setpriv (util-linux), or start this as another user';
    throw new HoldfastError('start_failed', `PostgreSQL cannot run as root: ${fix}`, false);
  }
  const identity = [`--reuid=${user.uid}`, `--regid=${user.gid}`, '--clear-groups', '--pdeathsig', 'SIGINT'];
  const runs = await permits(executable, user, 0o5);
  if (runs && (await canReach(executable, user)) && (await canReach(directory, user))) {
    return [setpriv, ...identity, '--'];
  }
  const capability = await searchCapability(runs);
  const search = [`--inh-caps=${capability}`, `--ambient-caps=${capability}`, '--securebits=+no_setuid_fixup'];
  return [setpriv, ...identity, ...search, '--'];
}

async function findSetpriv(): Promise<string | undefined> {
  if (process.platform !== 'linux') return undefined;
  for (const path of ['/usr/bin/setpriv', '/bin/setpriv']) {
    try {
      await access(path, constants.X_OK);
      const { stdout } = await promisify(execFile)(path, ['--help'], { timeout: 5_000, env: {} });
      // Small systems have a setpriv that knows no parent death signal.
      if (stdout.includes('--pdeathsig') && stdout.includes('--ambient-caps')) return path;
    } catch (error) {
      if (!isMissing(error)) throw new HoldfastError('start_failed', `${path}: ${messageOf(error)}`, true, error);
    }
  }
  return undefined;
}

/** True where the user may pass through every directory above `path`, by the permission bits. */
async function canReach(path: string, user: RunAs): Promise<boolean> {
  for (let above = dirname(path); ; above = dirname(above)) {
    if (!(await permits(above, user, 0o1))) return false;
    if (above === dirname(above)) return true;
  }
}

async function permits(path: string, user: RunAs, bits: number): Promise<boolean> {
  const { mode, uid, gid } = await stat(path);
  const shift = uid === user.uid ? 6 : gid === user.gid ? 3 : 0;
  return ((mode >> shift) & bits) === bits;
}

/** @param runs true where the user may run the executable once they reach it */
async function searchCapability(runs: boolean): Promise<string> {
  const status = await readFile('/proc/self/status', 'utf8');
  const permitted = BigInt(`0x${/^CapPrm:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`);
  const found = SEARCH_CAPABILITIES.find((one) => (permitted & (1n << one.bit)) !== 0n && (runs || one.runs));
  if (found !== undefined) return found.name;
  const fix = 'move it to where other users can read it';
  throw new HoldfastError('start_failed', `PostgreSQL's user cannot reach this directory: ${fix}`, false);
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}

/** For `.catch`: undefined where the path does not exist; everything else is thrown on. */
export function ignoreMissing(error: unknown): undefined {
  if (!isMissing(error)) throw error;
  return undefined;
}
