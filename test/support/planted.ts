/** A copy of the built package with a bug planted in it: a checker that does not find it proves nothing. */
import { cp, mkdtemp, readFile, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { packagePath } from '../../shared/paths.js';

export interface Plant {
  /** The compiled file, relative to dist. */
  readonly file: string;
  /** What stands there exactly once. */
  readonly original: string;
  readonly planted: string;
}

/**
 * @param plants all that makes up the bug
 * @returns the copy's directory, which the test removes
 */
export async function plantBug(...plants: readonly Plant[]): Promise<string> {
  const root = await mkdtemp(join(tmpdir(), 'holdfast-planted-'));
  await cp(packagePath('dist'), join(root, 'dist'), { recursive: true });
  await cp(packagePath('package.json'), join(root, 'package.json'));
  await symlink(packagePath('node_modules'), join(root, 'node_modules'));
  for (const plant of plants) await plantOne(root, plant);
  return root;
}

async function plantOne(root: string, plant: Plant): Promise<void> {
  const path = join(root, 'dist', plant.file);
  const source = await readFile(path, 'utf8');
  const parts = source.split(plant.original);
  if (parts.length !== 2) throw new Error(`${plant.file} has ${parts.length - 1} times: ${plant.original}`);
  await writeFile(path, parts.join(plant.planted));
}
