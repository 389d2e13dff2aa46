/**
 * The NetworkPolicies against the links that the configurations ask for: each has to be allowed at both ends, and nothing
 * else. Evaluated as Kubernetes does: a pod that no policy of a direction selects may do anything in it; otherwise what any
 * rule of any policy allows.
 */
import type { Cluster, Link } from './cluster.js';
import { componentOf, containerPort, linksOf, portOf, serviceOf } from './cluster.js';
import type { Labels, NetworkPeer, NetworkRule, Workload } from './objects.js';
import { ofKind, selects } from './objects.js';
import { WIRING } from './wiring.js';

const DNS_PORT = 53;

type Direction = 'Ingress' | 'Egress';

/** One line for each link that is missing, and for each that nobody needs. */
export function problemsOfNetwork(cluster: Cluster): string[] {
  const links = linksOf(cluster);
  const unresolved = links
    .filter(({ to }) => to?.startsWith('no '))
    .map(({ from, to, why }) => `${from}: ${why}: ${to!}`);
  const problems = cluster.workloads.flatMap((workload) => [
    ...problemsInside(workload, cluster, links),
    ...problemsOutside(workload, cluster, links),
  ]);
  return [...new Set([...unresolved, ...problems])];
}

/** Between this workload, as the client, and every port of every other one. */
function problemsInside(client: Workload, cluster: Cluster, links: readonly Link[]): string[] {
  const from = componentOf(client);
  return cluster.workloads.flatMap((server) => {
    const to = componentOf(server);
    if (server === client) return [];
    return portsOf(server).flatMap((port) => {
      const link = links.find((candidate) => candidate.from === from && candidate.to === to && candidate.port === port);
      const out = allows(cluster, client, 'Egress', server, port);
      const into = allows(cluster, server, 'Ingress', client, port);
      if (link !== undefined && !out) return [`${from} may not send to ${to}:${port}, which ${link.why} asks for`];
      if (link !== undefined && !into) return [`${to}:${port} does not let ${from} in, which ${link.why} asks for`];
      return link === undefined && out && into ? [`${from} may connect to ${to}:${port}, which nothing asks for`] : [];
    });
  });
}

/** From and to what is not a pod of this namespace. */
function problemsOutside(workload: Workload, cluster: Cluster, links: readonly Link[]): string[] {
  const name = componentOf(workload);
  const problems: string[] = [];
  const open = workload.pod.containers.flatMap((container) => WIRING[serviceOf(container) ?? '']?.open ?? []);
  for (const port of portsOf(workload)) {
    const isOpen = open.some((portName) => containerPort(workload, portName) === port);
    const allowed = allows(cluster, workload, 'Ingress', undefined, port);
    if (isOpen && !allowed) problems.push(`${name}:${port} is for others, who are not let in`);
    if (isOpen && !isOffered(cluster, workload, port))
      problems.push(`${name}:${port} is for others, and has no address`);
    if (!isOpen && allowed) problems.push(`${name}:${port} is open to anybody`);
  }
  const wanted = new Set(links.filter(({ from, to }) => from === name && to === undefined).map(({ port }) => port));
  const ports = rulesFor(cluster, workload, 'Egress').flatMap((rule) =>
    (rule.to ?? [{ ipBlock: { cidr: '0.0.0.0/0' } }]).some(({ ipBlock }) => ipBlock !== undefined)
      ? (rule.ports?.map(({ port }) => port) ?? ['any'])
      : [],
  );
  for (const port of wanted)
    if (!ports.includes(port)) problems.push(`${name} may not leave the cluster to port ${port}`);
  for (const port of ports) {
    if (typeof port !== 'number' || !wanted.has(port)) {
      problems.push(`${name} may leave the cluster to port ${port}, which nothing asks for`);
    }
  }
  if (links.some(({ from }) => from === name) && !mayAskNames(cluster, workload)) {
    problems.push(`${name} may not ask for names`);
  }
  return problems;
}

/** Whether a Service has an address for this port; devices come from outside, by a load balancer alone. */
function isOffered({ objects }: Cluster, workload: Workload, port: number): boolean {
  return ofKind(objects, 'Service').some(({ spec }) => {
    const { type, selector, ports = [] } = spec!;
    if (componentOf(workload) === 'edge' && type !== 'LoadBalancer') return false;
    const isOf = selects({ matchLabels: selector as Labels }, workload.labels);
    return isOf && ports.some(({ targetPort }) => containerPort(workload, targetPort) === port);
  });
}

function mayAskNames(cluster: Cluster, workload: Workload): boolean {
  return rulesFor(cluster, workload, 'Egress').some(
    ({ to = [], ports = [] }) =>
      to.some(({ namespaceSelector, podSelector }) => {
        const isSystem = namespaceSelector?.matchLabels?.['kubernetes.io/metadata.name'] === 'kube-system';
        return isSystem && podSelector?.matchLabels?.['k8s-app'] === 'kube-dns';
      }) &&
      ['UDP', 'TCP'].every((protocol) => ports.some((port) => port.port === DNS_PORT && port.protocol === protocol)),
  );
}

/** Whether the policies of `workload` let traffic of a direction pass. @param peer undefined: not in this namespace */
function allows(
  cluster: Cluster,
  workload: Workload,
  direction: Direction,
  peer: Workload | undefined,
  port: number,
): boolean {
  const selected = policiesFor(cluster, workload, direction);
  if (selected.length === 0) return true;
  const server = direction === 'Egress' ? peer : workload;
  const protocol = (server && portOf(server, port)?.protocol) ?? 'TCP';
  return rulesFor(cluster, workload, direction).some((rule) => {
    const peers = direction === 'Egress' ? rule.to : rule.from;
    const portFits =
      rule.ports?.some(
        (allowed) =>
          (allowed.protocol ?? 'TCP') === protocol &&
          (allowed.port === port || (server && containerPort(server, allowed.port) === port)),
      ) ?? true;
    return portFits && (peers === undefined || peers.some((allowed) => isPeer(allowed, peer)));
  });
}

function isPeer({ podSelector, namespaceSelector, ipBlock }: NetworkPeer, peer: Workload | undefined): boolean {
  // An address block may hold anybody's address, pods' too.
  if (ipBlock !== undefined) return true;
  if (peer === undefined) return namespaceSelector !== undefined;
  return namespaceSelector === undefined && podSelector !== undefined && selects(podSelector, peer.labels);
}

function policiesFor(
  { objects }: Cluster,
  { labels }: Workload,
  direction: Direction,
): NonNullable<ReturnType<typeof specsOf>>[number][] {
  return specsOf(objects).filter(
    ({ podSelector, policyTypes }) => policyTypes?.includes(direction) === true && selects(podSelector ?? {}, labels),
  );
}

function specsOf(objects: Cluster['objects']) {
  return ofKind(objects, 'NetworkPolicy').map(({ spec }) => spec!);
}

function rulesFor(cluster: Cluster, workload: Workload, direction: Direction): NetworkRule[] {
  return policiesFor(cluster, workload, direction).flatMap(
    (spec) => (direction === 'Egress' ? spec.egress : spec.ingress) ?? [],
  );
}

function portsOf({ pod }: Workload): number[] {
  return pod.containers.flatMap(({ ports = [] }) => ports.map(({ containerPort: port }) => port));
}
