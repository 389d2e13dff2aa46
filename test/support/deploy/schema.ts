/**
 * Holds an object against Kubernetes' own OpenAPI schema of its kind, as the package kubernetes-models has it compiled.
 *
 * Those schemas let unknown fields pass, but the API server does not (or worse, drops them): `readinesProbe` would be a pod
 * without a probe. A validator reads every field that its schema names, so a field that was never read is one that no
 * schema knows; the object is given to it behind proxies that note what is read.
 */
import type { KubernetesObject } from './objects.js';

interface Model {
  validate(): void;
}

type ModelClass = new (object: object) => Model & Record<string, unknown>;

/** One line for each way in which the object breaks its schema. */
export async function problemsOfSchema(object: KubernetesObject): Promise<string[]> {
  const { apiVersion, kind } = object;
  let module: Readonly<Record<string, ModelClass>>;
  try {
    module = (await import(`kubernetes-models/${apiVersion}/${kind}`)) as Readonly<Record<string, ModelClass>>;
  } catch {
    return [`Kubernetes has no ${apiVersion} ${kind}`];
  }
  const read = new Set<string>();
  const model = new module[kind]!(object);
  for (const key of Object.keys(object)) {
    const value = model[key];
    Object.defineProperty(model, key, {
      enumerable: true,
      get: () => {
        read.add(key);
        return watched(value, key, read);
      },
    });
  }
  const problems: string[] = [];
  try {
    model.validate();
  } catch (error) {
    problems.push(`${kind}: ${(error as Error).message}`);
  }
  return [...problems, ...unreadFields(object, '', read).map((path) => `${kind} has no field ${path}`)];
}

/** The value behind a proxy that notes every field that is read. */
function watched(value: unknown, path: string, read: Set<string>): unknown {
  if (typeof value !== 'object' || value === null) return value;
  return new Proxy(value, {
    get(target, key) {
      const field: unknown = Reflect.get(target, key);
      if (typeof key === 'symbol' || !Object.hasOwn(target, key)) return field;
      read.add(`${path}.${key}`);
      return watched(field, `${path}.${key}`, read);
    },
    ownKeys(target) {
      const keys = Reflect.ownKeys(target);
      for (const key of keys) read.add(`${path}.${String(key)}`);
      return keys;
    },
  });
}

/** The topmost fields that were not read; what is below them was not either. */
function unreadFields(value: unknown, path: string, read: ReadonlySet<string>): string[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, field]) => {
    const inner = path === '' ? key : `${path}.${key}`;
    return read.has(inner) ? unreadFields(field, inner, read) : [inner];
  });
}
