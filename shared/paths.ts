/** Files that ship with the package, found from wherever it is installed. */
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '..', '..');

/** The absolute path of a file of the package, named relative to package.json. */
export function packagePath(...names: string[]): string {
  return join(ROOT, ...names);
}
