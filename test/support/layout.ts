/**
 * The layout of the sources as rules: which room may import from which, and what every file keeps to. It looks at texts, so
 * that a test can show it bad ones.
 *
 *   shared/        imports shared/ only
 *   services/x/    imports shared/ and services/x/; services/cli.ts and services/up/ put services together and import any
 *   test/ bench/   import anything; nobody imports them, but tests import test/
 */
import { posix } from 'node:path';

/** Sources by their path from the root, with forward slashes. */
export type Sources = ReadonlyMap<string, string>;

const MAX_LINES = 300;
/** Static, side-effect, dynamic and type imports, re-exports, and scripts of threads. */
const SPECIFIER = /(?:\bfrom\s*|\bimport\s*\(?\s*|\bnew URL\(\s*)(['"])(\.{1,2}\/[^'"]+)\1/g;
const COMPOSITION = /^services\/(cli\.ts$|up\/)/;
const ENVIRONMENT_READER = 'shared/config.ts';

/** One line for each rule that a source breaks. */
export function problemsOfLayout(sources: Sources): string[] {
  return [...sources].flatMap(([path, text]) => [...problemsOfImports(path, text), ...problemsOfText(path, text)]);
}

function problemsOfImports(path: string, text: string): string[] {
  const targets = [...text.matchAll(SPECIFIER)].map(([, , specifier]) => posix.join(posix.dirname(path), specifier!));
  return targets.filter((target) => !mayImport(path, target)).map((target) => `${path} imports ${target}`);
}

function mayImport(path: string, target: string): boolean {
  const [room, service] = roomOf(path);
  const [targetRoom, targetService] = roomOf(target);
  if (room === 'test' || room === 'bench') return true;
  if (targetRoom === 'test') return isTest(path);
  if (targetRoom === 'shared') return true;
  if (targetRoom !== 'services' || room !== 'services') return false;
  return service === targetService || COMPOSITION.test(path);
}

function roomOf(path: string): [room: string | undefined, service: string | undefined] {
  const [room, service] = path.split('/');
  return [room, service];
}

function isTest(path: string): boolean {
  return path.endsWith('.test.ts');
}

function problemsOfText(path: string, text: string): string[] {
  const problems: string[] = [];
  const code = withoutComments(text);
  if (/\bprocess\.env\b/.test(code) && path !== ENVIRONMENT_READER) problems.push(`${path} reads the environment`);
  if (isTest(path)) return problems;
  const isShipped = path.startsWith('shared/') || path.startsWith('services/');
  if (/\bconsole\./.test(code) && isShipped) problems.push(`${path} writes to the console`);
  if (!/^(#!.*\n)?\/\*\*/.test(text)) problems.push(`${path} does not begin with its design`);
  const lines = text.trimEnd().split('\n').length;
  if (lines > MAX_LINES) problems.push(`${path} has ${lines} lines`);
  return problems;
}

function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|\s)\/\/.*$/gm, '');
}
