/**
 * The Secrets that a cluster would have: those that the Jobs of the manifests make, with the real script against an API
 * server that is a few lines here, and those that the comments ask the operator for.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { packagePath } from '../../../shared/paths.js';
import { ofKind, type KubernetesObject, type Labels } from './objects.js';

const TOKEN = 'the-token-of-the-account';
const SCRIPT = packagePath('k8s', 'base', 'make-secrets.mjs');

export interface MakeRun {
  readonly code: number;
  readonly output: string;
  /** What the API server was asked to create and had not yet, by name. */
  readonly made: Map<string, Labels>;
}

/**
 * Runs the script with these names.
 * @param there the Secrets that are there already
 */
export async function runMakeSecrets(names: readonly string[], there: readonly string[] = []): Promise<MakeRun> {
  const made = new Map<string, Labels>();
  const server = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => (body += chunk.toString()));
    request.on('end', () => {
      const isAllowed = request.headers.authorization === `Bearer ${TOKEN}`;
      if (!isAllowed || request.method !== 'POST' || request.url !== '/api/v1/namespaces/holdfast/secrets') {
        response.writeHead(403).end();
        return;
      }
      const secret = JSON.parse(body) as KubernetesObject & { stringData: Labels };
      const { name } = secret.metadata;
      const isThere = there.includes(name) || made.has(name);
      if (!isThere) made.set(name, secret.stringData);
      response.writeHead(isThere ? 409 : 201).end();
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const directory = mkdtempSync(join(tmpdir(), 'holdfast-secrets-'));
  writeFileSync(join(directory, 'namespace'), 'holdfast\n');
  writeFileSync(join(directory, 'token'), `${TOKEN}\n`);
  try {
    const { port } = server.address() as { port: number };
    const env = { ACCOUNT_DIRECTORY: directory, API_SERVER: `http://127.0.0.1:${port}` };
    const child = spawn(process.execPath, [SCRIPT, ...names], { env });
    let output = '';
    child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()));
    const [code] = (await once(child, 'close')) as [number];
    return { code, output, made };
  } finally {
    server.closeAllConnections();
    server.close();
    rmSync(directory, { recursive: true, force: true });
  }
}

/** The Secrets that the Jobs of the manifests make. */
export async function madeSecrets(objects: readonly KubernetesObject[]): Promise<Map<string, Labels>> {
  const secrets = new Map<string, Labels>();
  for (const { spec } of ofKind(objects, 'Job')) {
    for (const { args = [] } of spec?.template?.spec.containers ?? []) {
      for (const [name, values] of (await runMakeSecrets(args)).made) secrets.set(name, values);
    }
  }
  return secrets;
}

/** The Secrets of the `kubectl create secret generic NAME --from-literal=…` commands in a file's comments. */
export function documentedSecrets(text: string): Map<string, Labels> {
  const literal = /--from-literal=([\w-]+)=(?:'([^']*)'|(\S+))/g;
  const commands = text.replace(/\\\n#/g, '').matchAll(/create secret generic (\S+)((?:\s+--from-literal=\S+)+)/g);
  return new Map(
    [...commands].map(([, name, literals]) => {
      const pairs = [...literals!.matchAll(literal)].map(([, key, quoted, plain]) => {
        return [key!, (quoted ?? plain!).replace('…', 'a-long-enough-secret')] as const;
      });
      return [name!, Object.fromEntries(pairs)];
    }),
  );
}
