/** The machine and the versions that a result is true for. */
import { execFile } from 'node:child_process';
import { cpus, loadavg, release, totalmem } from 'node:os';
import { promisify } from 'node:util';
import { packagePath } from '../shared/paths.js';
import { VERSION } from '../shared/version.js';
import { redisVersion } from './peers/redis.js';

export async function describeMachine(directory: string): Promise<Record<string, string | number>> {
  return {
    holdfast: `${VERSION}, commit ${await output('git', ['-C', packagePath(), 'describe', '--always', '--dirty'])}`,
    node: process.version,
    redis: (await redisVersion()) ?? 'none on the PATH',
    kernel: release(),
    processors: `${cpus().length} × ${cpus()[0]?.model ?? 'unknown'}`,
    'memory, GiB': Number((totalmem() / 2 ** 30).toFixed(1)),
    disk: await output('df', ['--output=source,fstype', directory]),
    'load average before': loadavg()
      .map((load) => load.toFixed(2))
      .join(' '),
  };
}

/** The last line that a command prints, or why there is none. */
async function output(command: string, words: readonly string[]): Promise<string> {
  try {
    const { stdout } = await promisify(execFile)(command, words);
    return stdout.trim().split('\n').at(-1) ?? '';
  } catch {
    return 'unknown';
  }
}
