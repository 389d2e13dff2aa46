/**
 * Every container of the manifests: one image, nothing that the restricted Pod Security Standard forbids, resources, probes
 * that are served, an environment that its service reads, queues on volumes that stay, and time to stop.
 */
import { VERSION } from '../../../shared/version.js';
import { STOP_DEADLINE_MS } from '../../../shared/lifecycle.js';
import { componentOf, environmentOf, helpersOf, serviceOf, type Cluster } from './cluster.js';
import { bytesOf, type Container, type Probe, type Workload } from './objects.js';
import { listeningPorts, problemsOfEnvironment, WIRING, type Environment } from './wiring.js';

/** What shared/admin.ts serves; the test asks it. */
export const ADMIN_PATHS = ['/healthz', '/readyz', '/metrics'];

const PROBES = ['startupProbe', 'livenessProbe', 'readinessProbe'] as const;
/** After its own deadline a service has said what did not stop; Kubernetes must not cut it before. */
const STOP_MARGIN_MS = 5_000;

/** One line for each thing that is wrong with a container. */
export function problemsOfContainers(cluster: Cluster): string[] {
  return cluster.workloads.flatMap((workload) => {
    const containers = [...workload.pod.containers, ...(workload.pod.initContainers ?? [])];
    return [
      ...problemsOfSecurity(workload, containers),
      ...containers.flatMap((container) => [
        ...problemsOfImage(container),
        ...problemsOfResources(container),
        ...(workload.kind === 'Job' ? [] : problemsOfProbes(container)),
        ...problemsOfService(workload, container, cluster),
      ]),
    ];
  });
}

/** The image of the services is one; all others are pinned by an exact version. */
export function problemsOfImage({ name, image }: { readonly name: string; readonly image: string }): string[] {
  if (image === `holdfast:${VERSION}`) return [];
  if (/(^|\/)holdfast:/.test(image)) return [`${name}: ${image} is not holdfast:${VERSION}`];
  return /^[\w.-]+\/[\w./-]+:v?\d+\.\d+\.\d+[\w.-]*$/.test(image)
    ? []
    : [`${name}: ${image} is not pinned by a version`];
}

function problemsOfSecurity({ kind, name, pod }: Workload, containers: readonly Container[]): string[] {
  const { securityContext: context, automountServiceAccountToken, enableServiceLinks } = pod;
  const title = `${kind} ${name}`;
  const problems: string[] = [];
  if (context?.runAsNonRoot !== true || (context.runAsUser ?? 0) === 0) problems.push(`${title} may run as root`);
  if (context?.seccompProfile?.type !== 'RuntimeDefault') problems.push(`${title} has no seccomp profile`);
  if (enableServiceLinks !== false) problems.push(`${title} gets variables of Services`);
  if (automountServiceAccountToken !== (pod.serviceAccountName !== undefined)) {
    problems.push(`${title} has a token of the API server that it does not need, or none that it needs`);
  }
  for (const { name: container, securityContext } of containers) {
    const dropsAll = securityContext?.capabilities?.drop?.includes('ALL') === true;
    if (!dropsAll || securityContext.allowPrivilegeEscalation !== false) problems.push(`${container} has privileges`);
    if (securityContext?.readOnlyRootFilesystem !== true)
      problems.push(`${container} may write to its root file system`);
  }
  return problems;
}

function problemsOfResources({ name, resources }: Container): string[] {
  return (['requests', 'limits'] as const).flatMap((side) =>
    ['cpu', 'memory']
      .filter((resource) => resources?.[side]?.[resource] === undefined)
      .map((resource) => `${name} has no ${side} of ${resource}`),
  );
}

function problemsOfProbes(container: Container): string[] {
  return PROBES.flatMap((kind) => {
    const probe = container[kind];
    return probe === undefined ? [`${container.name} has no ${kind}`] : problemsOfProbe(container, kind, probe);
  });
}

function problemsOfProbe(container: Container, kind: string, { httpGet }: Probe): string[] {
  if (httpGet === undefined) return [];
  const { path, port } = httpGet;
  const problems: string[] = [];
  const isThere = container.ports?.some(({ name, containerPort }) => name === port || containerPort === port) === true;
  if (!isThere) problems.push(`${container.name}: ${kind} asks port ${port}, which it does not have`);
  if (serviceOf(container) === undefined) return problems;
  if (port !== 'admin') problems.push(`${container.name}: ${kind} asks port ${port}, not admin`);
  const wanted = kind === 'readinessProbe' ? '/readyz' : '/healthz';
  if (!ADMIN_PATHS.includes(path)) problems.push(`${container.name}: ${kind} asks ${path}, which nobody serves`);
  // Not ready is no reason to be killed: an edge whose router is away would be.
  else if (path !== wanted) problems.push(`${container.name}: ${kind} asks ${path}, not ${wanted}`);
  return problems;
}

function problemsOfService(workload: Workload, container: Container, cluster: Cluster): string[] {
  const { environment, problems } = environmentOf(container, cluster);
  const service = serviceOf(container);
  if (service === undefined) return problems;
  if (service !== componentOf(workload)) problems.push(`${workload.name} runs ${service}`);
  problems.push(...problemsOfEnvironment(service, environment, helpersOf(container)));
  if (WIRING[service] === undefined) return problems;
  const listening = listeningPorts(service, environment);
  const declared = new Map(container.ports?.map(({ name, containerPort }) => [name, containerPort]));
  for (const [name, port] of listening) {
    if (declared.get(name) !== port)
      problems.push(`${service} listens on ${name} ${port}, its pod says ${declared.get(name)}`);
  }
  for (const name of declared.keys()) if (!listening.has(name)) problems.push(`${service} does not listen on ${name}`);
  return [
    ...problems,
    ...problemsOfQueue(workload, container, service, environment),
    ...problemsOfStop(workload, container),
  ];
}

function problemsOfQueue(
  workload: Workload,
  container: Container,
  service: string,
  environment: Environment,
): string[] {
  const queue = WIRING[service]?.queue;
  if (queue === undefined) return [];
  const directory = environment[queue.directory] ?? '';
  const mount = container.volumeMounts?.find(({ mountPath }) => directory.startsWith(`${mountPath}/`));
  const claim = workload.spec.volumeClaimTemplates?.find(({ metadata }) => metadata.name === mount?.name);
  if (claim === undefined) return [`${service}: ${queue.directory}=${directory} is on no volume that stays`];
  const used = queue.bytes.map((key) => bytesOf((environment[key] ?? '0Ki').replace(/B$/, '')));
  const total = used.reduce((sum, bytes) => sum + bytes, 0);
  const size = bytesOf(claim.spec.resources.requests.storage);
  // LMDB's file is larger than the bytes in it: pages are half full at worst, and freed ones stay.
  return total * 1.25 <= size ? [] : [`${service}: ${queue.bytes.join(' + ')} are over 80 % of its claim`];
}

function problemsOfStop({ pod, name }: Workload, { lifecycle }: Container): string[] {
  const sleep = lifecycle?.preStop?.exec?.command;
  const sleepMs = sleep?.[0] === 'sleep' ? Number(sleep[1]) * 1_000 : 0;
  const graceMs = (pod.terminationGracePeriodSeconds ?? 30) * 1_000;
  const needed = sleepMs + STOP_DEADLINE_MS + STOP_MARGIN_MS;
  return graceMs >= needed ? [] : [`${name} is killed after ${graceMs} ms, and may need ${needed} ms to stop`];
}
