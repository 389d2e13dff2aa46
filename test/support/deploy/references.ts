/** What a schema cannot say of manifests: that names and selectors in one object fit the objects that they mean. */
import { type Cluster, portOf } from './cluster.js';
import {
  ofKind,
  selects,
  titleOf,
  type KubernetesObject,
  type Labels,
  type Selector,
  type Workload,
} from './objects.js';

/** Kinds that do not live in a namespace. */
const CLUSTER_WIDE = ['Namespace'];
/** What a ConfigMap may have: `kubectl apply` keeps it a second time in an annotation, of which 256 KiB are allowed. */
const MAX_CONFIG_BYTES = 250_000;

/** One line for each name or selector that means nothing, or the wrong thing. */
export function problemsOfReferences(cluster: Cluster): string[] {
  const { objects, workloads } = cluster;
  return [
    ...problemsOfNames(objects),
    ...workloads.flatMap((workload) => [...problemsOfWorkload(workload, cluster), ...problemsOfPod(workload, cluster)]),
    ...ofKind(objects, 'Service').flatMap((service) => problemsOfService(service, workloads)),
    ...ofKind(objects, 'PodDisruptionBudget').flatMap((budget) => problemsOfSelector(budget, workloads)),
    ...ofKind(objects, 'HorizontalPodAutoscaler').flatMap((scaler) => problemsOfScaler(scaler, workloads)),
    ...ofKind(objects, 'RoleBinding').flatMap((binding) => problemsOfBinding(binding, objects)),
  ];
}

function problemsOfNames(objects: readonly KubernetesObject[]): string[] {
  const titles = objects.map(titleOf);
  const namespaces = ofKind(objects, 'Namespace').map(({ metadata }) => metadata.name);
  const misplaced = objects.filter(
    ({ kind, metadata }) => !CLUSTER_WIDE.includes(kind) && !namespaces.includes(metadata.namespace ?? ''),
  );
  const large = ofKind(objects, 'ConfigMap').filter((map) => JSON.stringify(map).length > MAX_CONFIG_BYTES);
  return [
    ...titles.filter((title, at) => titles.indexOf(title) !== at).map((title) => `${title} is there twice`),
    ...misplaced.map((object) => `${titleOf(object)} is in namespace ${object.metadata.namespace ?? 'default'}`),
    ...large.map((map) => `${titleOf(map)} is over ${MAX_CONFIG_BYTES} bytes`),
  ];
}

function problemsOfWorkload({ kind, name, labels, spec }: Workload, { objects }: Cluster): string[] {
  if (kind === 'Job') return [];
  const title = `${kind} ${name}`;
  const problems: string[] = [];
  if (!selects(spec.selector as Selector, labels)) problems.push(`${title} does not select its own pods`);
  const budgets = ofKind(objects, 'PodDisruptionBudget').filter((budget) =>
    selects(budget.spec?.selector as Selector, labels),
  );
  if (budgets.length !== 1) problems.push(`${title} has ${budgets.length} PodDisruptionBudgets`);
  if (kind === 'StatefulSet') {
    const service = ofKind(objects, 'Service').find(({ metadata }) => metadata.name === spec.serviceName);
    const selector = service?.spec?.clusterIP === 'None' ? service.spec.selector : undefined;
    if (selector === undefined || !selects({ matchLabels: selector as Labels }, labels)) {
      problems.push(`${title}: Service ${spec.serviceName ?? ''} is no headless Service of its pods`);
    }
  }
  return problems;
}

function problemsOfPod({ kind, name, pod, spec }: Workload, { objects }: Cluster): string[] {
  const title = `${kind} ${name}`;
  const claims = spec.volumeClaimTemplates?.map(({ metadata }) => metadata.name) ?? [];
  const volumes = [...(pod.volumes ?? []).map((volume) => volume.name), ...claims];
  const mounts = pod.containers.flatMap(({ volumeMounts = [] }) => volumeMounts);
  const maps = ofKind(objects, 'ConfigMap');
  const problems: string[] = [];
  for (const mount of mounts) {
    if (!volumes.includes(mount.name)) problems.push(`${title} mounts ${mount.name}, which it does not have`);
  }
  for (const volume of volumes) {
    if (!mounts.some((mount) => mount.name === volume))
      problems.push(`${title} has a volume ${volume} that nobody mounts`);
  }
  for (const { name: volume, configMap } of pod.volumes ?? []) {
    if (configMap === undefined) continue;
    const map = maps.find(({ metadata }) => metadata.name === configMap.name);
    const subPath = mounts.find((mount) => mount.name === volume)?.subPath;
    if (map === undefined) problems.push(`${title}: there is no ConfigMap ${configMap.name}`);
    else if (subPath !== undefined && map.data?.[subPath] === undefined) {
      problems.push(`${title}: ConfigMap ${configMap.name} has no ${subPath}`);
    }
  }
  const account = pod.serviceAccountName;
  const accounts = ofKind(objects, 'ServiceAccount').map(({ metadata }) => metadata.name);
  if (account !== undefined && !accounts.includes(account))
    problems.push(`${title}: there is no ServiceAccount ${account}`);
  return problems;
}

function problemsOfService(service: KubernetesObject, workloads: readonly Workload[]): string[] {
  const selected = workloads.filter(({ labels }) => selects({ matchLabels: service.spec?.selector as Labels }, labels));
  if (selected.length !== 1) return [`${titleOf(service)} selects ${selected.length} workloads`];
  return (service.spec?.ports ?? []).flatMap(({ targetPort, protocol = 'TCP' }) => {
    const found = portOf(selected[0]!, targetPort);
    if (found === undefined) return [`${titleOf(service)}: its pods have no port ${targetPort}`];
    const spoken = found.protocol ?? 'TCP';
    return spoken === protocol ? [] : [`${titleOf(service)}: port ${targetPort} speaks ${spoken}, not ${protocol}`];
  });
}

function problemsOfSelector(object: KubernetesObject, workloads: readonly Workload[]): string[] {
  const selected = workloads.filter(({ labels }) => selects(object.spec?.selector as Selector, labels));
  return selected.length === 1 ? [] : [`${titleOf(object)} selects ${selected.length} workloads`];
}

function problemsOfScaler(scaler: KubernetesObject, workloads: readonly Workload[]): string[] {
  const target = scaler.spec?.scaleTargetRef;
  const workload = workloads.find(({ kind, name }) => kind === target?.kind && name === target.name);
  if (workload === undefined) return [`${titleOf(scaler)} scales nothing`];
  // Applying the manifest again would take back what the autoscaler has done.
  return workload.spec.replicas === undefined ? [] : [`${titleOf(scaler)}: ${workload.name} sets replicas too`];
}

function problemsOfBinding(binding: KubernetesObject, objects: readonly KubernetesObject[]): string[] {
  const wanted = [binding.roleRef, ...(binding.subjects ?? [])];
  return wanted
    .filter(
      (reference) =>
        !objects.some(({ kind, metadata }) => kind === reference?.kind && metadata.name === reference.name),
    )
    .map((reference) => `${titleOf(binding)}: there is no ${reference?.kind ?? ''} ${reference?.name ?? ''}`);
}
