/**
 * Holds a server to its OpenAPI document: every answer must be one that the document has for the path, method and status,
 * and every request that was served must be one that the document allows. It reads the document alone, and knows nothing of
 * the code that serves.
 */
import ajvFormats from 'ajv-formats';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import type {
  OpenApi,
  Operation,
  OperationMethod,
  Parameter,
  PathItem,
  Reference,
  Response,
  Schema,
} from '../../services/shadow/http/openapi-types.js';
import type { Call, Reply } from './http-client.js';

/** What may be answered before the path is looked at. */
const BEFORE_PATH = [401, 403, 429, 503];

export class ApiContract {
  /** Every documented status that came, as `GET /things 200`. */
  readonly produced = new Set<string>();
  readonly #ajv = new Ajv2020({ strict: true, strictRequired: false, allowUnionTypes: true, allErrors: true });
  readonly #validators = new Map<Schema, ValidateFunction>();

  constructor(readonly document: OpenApi) {
    ajvFormats.default(this.#ajv);
  }

  /** Every documented status of every operation. */
  get documented(): string[] {
    return this.operations().flatMap(([key, operation]) =>
      Object.keys(operation.responses).map((status) => `${key} ${status}`),
    );
  }

  /** The operations by method and path, as `GET /things`. */
  operations(): [key: string, operation: Operation][] {
    return Object.entries(this.document.paths).flatMap(([path, item]) =>
      Object.entries(item).map(([method, operation]): [string, Operation] => [
        `${method.toUpperCase()} ${path}`,
        operation,
      ]),
    );
  }

  /** What is wrong with an answer, one sentence each; none: it keeps to the document. */
  problems(call: Call, reply: Reply): string[] {
    const found = this.#find(call.path.split('?', 1)[0]!);
    const method = call.method === 'HEAD' ? 'GET' : call.method;
    const problems = Object.keys(reply.headers)
      .filter((name) => name.startsWith('access-control-'))
      .map((name) => `there is a header ${name}`);
    if (found === undefined) return [...problems, ...this.#refusal(call, reply, [404, ...BEFORE_PATH])];
    const operation = found.item[method.toLowerCase() as OperationMethod];
    if (operation === undefined) return [...problems, ...this.#otherMethod(call, reply, found.item)];
    const declared = operation.responses[`${reply.status}`];
    if (declared === undefined) return [...problems, `status ${reply.status} is not documented`];
    this.produced.add(`${method} ${found.path} ${reply.status}`);
    problems.push(...this.#answer(call, reply, this.#response(declared)));
    if (reply.status < 300) problems.push(...this.#request(call, operation, found.variables));
    return problems;
  }

  /** @throws Error that lists what is wrong */
  check(call: Call, reply: Reply): void {
    const problems = this.problems(call, reply);
    if (problems.length === 0) return;
    throw new Error(
      `${call.method} ${call.path} → ${reply.status} ${reply.text.slice(0, 500)}:\n${problems.join('\n')}`,
    );
  }

  /** What is wrong with a value by a schema of the document. */
  validate(schema: Schema, value: unknown): string[] {
    let validator = this.#validators.get(schema);
    if (validator === undefined) {
      const schemas = { schema, $defs: this.document.components.schemas };
      const text = JSON.stringify(schemas).replaceAll('#/components/schemas/', '#/$defs/');
      const { schema: root, $defs } = JSON.parse(text) as { schema: object; $defs: object };
      validator = this.#ajv.compile({ ...root, $defs });
      this.#validators.set(schema, validator);
    }
    if (validator(value)) return [];
    return (validator.errors ?? []).map(({ instancePath, message }) => `${instancePath} ${message ?? ''}`);
  }

  #answer(call: Call, reply: Reply, response: Response): string[] {
    const problems: string[] = [];
    for (const [name, { schema }] of Object.entries(response.headers ?? {})) {
      const text = reply.headers[name.toLowerCase()];
      if (text === undefined) problems.push(`there is no header ${name}`);
      else problems.push(...this.validate(schema, schema.type === 'integer' ? Number(text) : text));
    }
    const type = reply.headers['content-type'] ?? '';
    const content = response.content?.[type];
    if (content === undefined) return [...problems, `the Content-Type ${type} is not documented`];
    if (call.method === 'HEAD') return reply.text === '' ? problems : [...problems, 'HEAD has a body'];
    if (Buffer.byteLength(reply.text) !== Number(reply.headers['content-length'])) problems.push('the length is wrong');
    const value = type.startsWith('text/') ? reply.text : parse(reply.text);
    problems.push(...this.validate(content.schema, value));
    if (reply.status >= 400 && (value as { code?: unknown }).code !== reply.status) problems.push('code is not status');
    return problems;
  }

  #request(call: Call, { parameters = [], requestBody }: Operation, variables: ReadonlyMap<string, string>): string[] {
    const problems: string[] = [];
    const query = new Map(new URLSearchParams(call.path.split('?')[1] ?? ''));
    for (const reference of parameters) {
      const { name, in: place, schema, required } = this.#parameter(reference);
      const text = place === 'path' ? variables.get(name) : query.get(name);
      query.delete(name);
      if (text === undefined && required === true) problems.push(`the parameter ${name} is missing`);
      else if (text !== undefined) problems.push(...this.validate(schema, typed(schema, text)));
    }
    for (const name of query.keys()) problems.push(`the query parameter ${name} is not documented`);
    if (requestBody === undefined) return problems;
    const schema = requestBody.content['application/json']!.schema;
    const { body = '' } = call;
    const text = typeof body === 'string' || Buffer.isBuffer(body) ? body.toString() : body.map(String).join('');
    const value: unknown = call.json === undefined ? parse(text) : JSON.parse(JSON.stringify(call.json));
    return [...problems, ...this.validate(schema, value).map((problem) => `served, but the body: ${problem}`)];
  }

  #otherMethod(call: Call, reply: Reply, item: PathItem): string[] {
    if (BEFORE_PATH.includes(reply.status)) return this.#refusal(call, reply, BEFORE_PATH);
    const methods = Object.keys(item).map((method) => method.toUpperCase());
    const expected = [...methods, ...(methods.includes('GET') ? ['HEAD'] : []), 'OPTIONS'].sort();
    const allowed = (reply.headers.allow ?? '').split(', ').sort();
    const problems = String(allowed) === String(expected) ? [] : [`Allow is ${allowed.join()}, not ${expected.join()}`];
    if (call.method !== 'OPTIONS') return [...problems, ...this.#refusal(call, reply, [405])];
    if (reply.status !== 204 || reply.text !== '') problems.push('OPTIONS is not answered with 204');
    return problems;
  }

  #refusal(call: Call, reply: Reply, statuses: readonly number[]): string[] {
    if (!statuses.includes(reply.status)) return [`status ${reply.status} is none of ${statuses.join(', ')}`];
    const { responses } = this.document.components;
    return this.#answer(call, reply, responses['BadRequest']!);
  }

  #find(path: string): { path: string; item: PathItem; variables: ReadonlyMap<string, string> } | undefined {
    for (const [template, item] of Object.entries(this.document.paths)) {
      const names = [...template.matchAll(/\{(\w+)\}/g)].map(([, name]) => name!);
      const source = template.replace(/[.]/g, '\\.').replace(/\{\w+\}/g, '([^/]*)');
      const match = new RegExp(`^${source}$`).exec(path);
      if (match === null) continue;
      const variables = new Map(names.map((name, index) => [name, unescaped(match[index + 1]!)]));
      return { path: template, item, variables };
    }
    return undefined;
  }

  #response(declared: Response | Reference): Response {
    return '$ref' in declared ? this.document.components.responses[lastOf(declared.$ref)]! : declared;
  }

  #parameter({ $ref }: Reference): Parameter {
    return this.document.components.parameters[lastOf($ref)]!;
  }
}

function lastOf(reference: string): string {
  return reference.split('/').at(-1)!;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** As a parameter's text is meant by its schema. */
function typed(schema: Schema, text: string): unknown {
  return schema.type === 'integer' || schema.type === 'boolean' ? parse(text) : text;
}

function unescaped(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}
