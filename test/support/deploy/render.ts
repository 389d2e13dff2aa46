/**
 * What `kubectl kustomize` makes of a folder, for the little of kustomize that k8s/ uses: resources, ConfigMaps from files, one
 * namespace. Anything else in a Kustomization is an error here, so that nobody adds what the tests do not see.
 * The test compares it with kubectl itself where that is installed.
 */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { parseAllDocuments, stringify } from 'yaml';
import type { KubernetesObject } from './objects.js';

const NAMES = ['kustomization.yaml', 'Kustomization'];

interface Kustomization {
  readonly apiVersion: string;
  readonly kind: string;
  readonly namespace?: string;
  readonly resources: readonly string[];
  readonly configMapGenerator?: readonly { name: string; files: readonly string[] }[];
  readonly generatorOptions?: { readonly disableNameSuffixHash: boolean };
}

const KNOWN = new Set(['apiVersion', 'kind', 'namespace', 'resources', 'configMapGenerator', 'generatorOptions']);

/** The order in which objects are made: what others need comes first. */
const ORDER = ['Namespace', 'ServiceAccount', 'Role', 'RoleBinding', 'ConfigMap', 'NetworkPolicy', 'Service', 'Job'];

/** Every document of a YAML file. @throws Error where one does not parse, or names a key twice */
export function readDocuments(path: string): unknown[] {
  return parseDocuments(readFileSync(path, 'utf8'), path);
}

/** Every document of a text. @param path what errors call it @param version of YAML @throws Error where one does not parse */
export function parseDocuments(text: string, path: string, version: '1.1' | '1.2' = '1.2'): unknown[] {
  return parseAllDocuments(text, { uniqueKeys: true, merge: true, version }).map((document) => {
    const [problem] = [...document.errors, ...document.warnings];
    if (problem !== undefined) throw new Error(`${path}: ${problem.message}`);
    return document.toJS({ maxAliasCount: 100 }) as unknown;
  });
}

/** The objects of a folder with a Kustomization, in its order. */
export function render(folder: string): KubernetesObject[] {
  const { namespace, resources, configMapGenerator = [], generatorOptions } = readKustomization(folder);
  const objects = resources.flatMap((resource) => {
    const path = join(folder, resource);
    return statSync(path).isDirectory() ? render(path) : (readDocuments(path) as KubernetesObject[]);
  });
  const generated = configMapGenerator.map(({ name, files }): KubernetesObject => {
    if (generatorOptions?.disableNameSuffixHash !== true) throw new Error(`${folder}: ${name} would get a hash`);
    const data = Object.fromEntries(files.map((file) => contentOf(folder, file)));
    return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name }, data };
  });
  return [...objects, ...generated].map((object) => inNamespace(object, namespace));
}

function readKustomization(folder: string): Kustomization {
  const path = NAMES.map((name) => join(folder, name)).find((candidate) => existsSync(candidate));
  if (path === undefined) throw new Error(`${folder} has no Kustomization`);
  const [kustomization] = readDocuments(path) as Kustomization[];
  const unknown = Object.keys(kustomization!).filter((key) => !KNOWN.has(key));
  if (unknown.length > 0) throw new Error(`${path} has ${unknown.join(', ')}, which the tests cannot apply`);
  return kustomization!;
}

/** A file's key in the ConfigMap and its text; written `file` or `key=file`. */
function contentOf(folder: string, file: string): [key: string, text: string] {
  const [key, path] = file.includes('=') ? (file.split('=', 2) as [string, string]) : [basename(file), file];
  return [key, readFileSync(join(folder, path), 'utf8')];
}

function inNamespace(object: KubernetesObject, namespace: string | undefined): KubernetesObject {
  if (namespace === undefined || object.kind === 'Namespace') return object;
  return { ...object, metadata: { ...object.metadata, namespace } };
}

/** kubectl reads YAML 1.1, where `off`, `yes` and 010 are no strings: written for that, they are quoted. */
const WRITTEN = { version: '1.1', lineWidth: 0, aliasDuplicateObjects: false } as const;

/** The objects as one file for `kubectl apply -f`, the namespace first. */
export function asFile(objects: readonly KubernetesObject[]): string {
  const rank = ({ kind }: KubernetesObject): number => (ORDER.includes(kind) ? ORDER.indexOf(kind) : ORDER.length);
  const sorted = [...objects].sort((a, b) => rank(a) - rank(b));
  const head =
    '# The whole pipeline: kubectl apply -f k8s\n#\n' +
    '# Made from the folders beside it, which are what to read and to change. To make it again:\n' +
    '#\n#   npm run build && node dist/test/support/deploy/write-manifests.js\n';
  return head + sorted.map((object) => `---\n${stringify(object, WRITTEN)}`).join('');
}
