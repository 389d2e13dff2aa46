/**
 * A set of manifests with everything resolved that a cluster would resolve: the environment of each container, with the
 * values of ConfigMaps and Secrets, and which pods stand behind the name of a Service.
 */
import type { Container, ContainerPort, KubernetesObject, Labels, Workload } from './objects.js';
import { ofKind, selects, workloadsOf } from './objects.js';
import type { Connection, Environment } from './wiring.js';
import { connectionsOf, WIRING } from './wiring.js';

/** Secrets by name, which no manifest holds. */
export type Secrets = ReadonlyMap<string, Labels>;

export interface Cluster {
  readonly objects: readonly KubernetesObject[];
  readonly workloads: readonly Workload[];
  readonly secrets: Secrets;
}

/** A link from a workload to another one, or to what is not in the cluster. */
export interface Link {
  readonly from: string;
  /** undefined: outside. */
  readonly to: string | undefined;
  readonly port: number;
  readonly why: string;
}

export function clusterOf(objects: readonly KubernetesObject[], secrets: Secrets): Cluster {
  return { objects, workloads: workloadsOf(objects), secrets };
}

/** The service that a container runs: undefined for what is not Holdfast's, or not a service. */
export function serviceOf({ image, command, args = [] }: Container): string | undefined {
  return image.startsWith('holdfast:') && command === undefined ? args[0] : undefined;
}

/** The component of a workload's pods, by which policies know them. */
export function componentOf({ labels }: Workload): string {
  return labels['app.kubernetes.io/component'] ?? '';
}

/** The environment of a container; what cannot be resolved is said. */
export function environmentOf(
  container: Container,
  { objects, secrets }: Cluster,
): { environment: Environment; problems: string[] } {
  const environment: Record<string, string> = {};
  const problems: string[] = [];
  for (const { configMapRef } of container.envFrom ?? []) {
    const map = ofKind(objects, 'ConfigMap').find(({ metadata }) => metadata.name === configMapRef?.name);
    if (map === undefined) problems.push(`${container.name}: there is no ConfigMap ${configMapRef?.name ?? ''}`);
    Object.assign(environment, map?.data);
  }
  for (const { name, value, valueFrom } of container.env ?? []) {
    const reference = valueFrom?.secretKeyRef;
    if (reference !== undefined) {
      const secret = secrets.get(reference.name)?.[reference.key];
      if (secret === undefined) problems.push(`${container.name}: nobody makes ${reference.name}/${reference.key}`);
      environment[name] = secret ?? '';
    } else {
      environment[name] = (value ?? '').replace(/\$\((\w+)\)/g, (whole, key: string) => environment[key] ?? whole);
    }
  }
  return { environment, problems };
}

/** The keys that stand in values of others, as `$(REDIS_PASSWORD)`. */
export function helpersOf({ env = [] }: Container): string[] {
  return env.flatMap(({ value }) => [...(value ?? '').matchAll(/\$\((\w+)\)/g)].map(([, key]) => key!));
}

/** Every link that the configurations ask for. */
export function linksOf(cluster: Cluster): Link[] {
  return cluster.workloads.flatMap((workload) => {
    const from = componentOf(workload);
    return workload.pod.containers.flatMap((container) =>
      wantedBy(container, cluster).flatMap((connection) => resolve(from, connection, cluster)),
    );
  });
}

function wantedBy(container: Container, cluster: Cluster): Connection[] {
  const service = serviceOf(container);
  const { environment } = environmentOf(container, cluster);
  if (service !== undefined && WIRING[service] !== undefined) return connectionsOf(service, environment);
  switch (container.name) {
    case 'prometheus': {
      const names = [...fileOf(cluster, 'prometheus-config').matchAll(/_admin\._tcp\.([\w-]+)/g)];
      return names.map(([, host]) => ({ key: 'prometheus.yaml', host: host!, port: adminPort(cluster, host!) }));
    }
    case 'grafana': {
      const [, host, port] = /http:\/\/([\w-]+):(\d+)/.exec(fileOf(cluster, 'grafana-datasources')) ?? [];
      const [database, databasePort] = (environment['DATABASE_HOST'] ?? '').split(':');
      return [
        { key: 'datasources.yaml', host: host ?? '', port: Number(port) },
        { key: 'DATABASE_HOST', host: database ?? '', port: Number(databasePort) },
      ];
    }
    case 'make-secrets':
      // The Service of the API server is on 443; where policies see the address behind it, that is 6443 as a rule.
      return [443, 6443].map((port) => ({ key: 'API server', host: 'kubernetes.default.svc', port }));
    default:
      return [];
  }
}

function resolve(from: string, { key, host, port }: Connection, cluster: Cluster): Link[] {
  const service = ofKind(cluster.objects, 'Service').find(({ metadata }) => metadata.name === host);
  // A name without dots can only be a Service beside it.
  if (service === undefined)
    return [{ from, to: host.includes('.') ? undefined : `no Service ${host}`, port, why: key }];
  const served = service.spec?.ports?.find((candidate) => candidate.port === port);
  if (served === undefined) return [{ from, to: `no port ${port} of Service ${host}`, port, why: key }];
  const behind = cluster.workloads.filter(({ labels }) =>
    selects({ matchLabels: service.spec?.selector as Labels }, labels),
  );
  return behind.map((workload) => ({
    from,
    to: componentOf(workload),
    port: containerPort(workload, served.targetPort),
    why: key,
  }));
}

/** The number of a port of a workload's pods; NaN where there is none. */
export function containerPort(workload: Workload, port: string | number): number {
  return portOf(workload, port)?.containerPort ?? Number.NaN;
}

/** A port of a workload's pods, by its name or number. */
export function portOf({ pod }: Workload, port: string | number): ContainerPort | undefined {
  const ports = pod.containers.flatMap((container) => container.ports ?? []);
  return ports.find(({ name, containerPort: number }) => name === port || number === port);
}

function adminPort({ objects }: Cluster, service: string): number {
  const found = ofKind(objects, 'Service').find(({ metadata }) => metadata.name === service);
  return found?.spec?.ports?.find(({ name }) => name === 'admin')?.port ?? Number.NaN;
}

function fileOf({ objects }: Cluster, name: string): string {
  const map = ofKind(objects, 'ConfigMap').find(({ metadata }) => metadata.name === name);
  return Object.values(map?.data ?? {}).join('\n');
}
