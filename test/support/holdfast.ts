/** The `holdfast` command as a shell runs it: its exit code and what it says. */
import { execFile } from 'node:child_process';
import { inheritedEnvironment } from '../../shared/config.js';
import { packagePath } from '../../shared/paths.js';

export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

const MAX_OUTPUT_BYTES = 64 * 1024 * 1024;

/** Runs `holdfast` with these words to its end. */
export function runHoldfast(
  words: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Promise<Ended> {
  const cli = packagePath('dist', 'services', 'cli.js');
  const options = { env: { ...inheritedEnvironment(), ...environment }, maxBuffer: MAX_OUTPUT_BYTES };
  return new Promise((resolve) => {
    execFile(process.execPath, [cli, ...words], options, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}
