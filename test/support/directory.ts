/**
 * A directory of a test's own. Not tap's `testdir`: that is removed before the teardowns that were asked for after it, under the
 * queue or the store that one of them is to close.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';

/** Makes it; it is removed after everything that the test tears down later. */
export function testDirectory(t: Test): string {
  const directory = mkdtempSync(join(tmpdir(), 'holdfast-test-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}
