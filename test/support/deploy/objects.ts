/**
 * Kubernetes objects as the checks read them: the parts of the schemas that they use, no more. What is read here has been
 * held against the real schemas (schema.ts), so the types are trusted.
 */
export interface Labels {
  readonly [key: string]: string;
}

export interface Selector {
  readonly matchLabels?: Labels;
  readonly matchExpressions?: readonly { key: string; operator: string; values?: readonly string[] }[];
}

export interface KeyRef {
  readonly name: string;
  readonly key: string;
}

export interface Probe {
  readonly httpGet?: { readonly path: string; readonly port: string | number };
  readonly exec?: { readonly command: readonly string[] };
}

export interface Container {
  readonly name: string;
  readonly image: string;
  readonly command?: readonly string[];
  readonly args?: readonly string[];
  readonly envFrom?: readonly { configMapRef?: { name: string } }[];
  readonly env?: readonly { name: string; value?: string; valueFrom?: { secretKeyRef?: KeyRef } }[];
  readonly ports?: readonly ContainerPort[];
  readonly startupProbe?: Probe;
  readonly livenessProbe?: Probe;
  readonly readinessProbe?: Probe;
  readonly lifecycle?: { readonly preStop?: { readonly exec?: { readonly command: readonly string[] } } };
  readonly resources?: { readonly requests?: Labels; readonly limits?: Labels };
  readonly securityContext?: {
    readonly readOnlyRootFilesystem?: boolean;
    readonly allowPrivilegeEscalation?: boolean;
    readonly capabilities?: { readonly drop?: readonly string[] };
  };
  readonly volumeMounts?: readonly { name: string; mountPath: string; subPath?: string }[];
}

export interface ContainerPort {
  readonly name: string;
  readonly containerPort: number;
  /** TCP where none is given. */
  readonly protocol?: string;
}

export interface PodSpec {
  readonly containers: readonly Container[];
  readonly initContainers?: readonly Container[];
  readonly volumes?: readonly { name: string; configMap?: { name: string }; secret?: { secretName: string } }[];
  readonly serviceAccountName?: string;
  readonly automountServiceAccountToken?: boolean;
  readonly enableServiceLinks?: boolean;
  readonly terminationGracePeriodSeconds?: number;
  readonly securityContext?: {
    readonly runAsNonRoot?: boolean;
    readonly runAsUser?: number;
    readonly seccompProfile?: { readonly type: string };
  };
}

export interface NetworkPeer {
  readonly podSelector?: Selector;
  readonly namespaceSelector?: Selector;
  readonly ipBlock?: { readonly cidr: string };
}

export interface NetworkRule {
  readonly from?: readonly NetworkPeer[];
  readonly to?: readonly NetworkPeer[];
  readonly ports?: readonly { port: number | string; protocol?: string }[];
}

export interface Spec {
  readonly selector?: Labels | Selector;
  readonly template?: { readonly metadata: { readonly labels: Labels }; readonly spec: PodSpec };
  readonly serviceName?: string;
  readonly replicas?: number;
  /** Of a Service: LoadBalancer, or absent. */
  readonly type?: string;
  readonly clusterIP?: string;
  readonly ports?: readonly { name: string; port: number; targetPort: string | number; protocol?: string }[];
  readonly volumeClaimTemplates?: readonly {
    metadata: { name: string };
    spec: { resources: { requests: { storage: string } } };
  }[];
  readonly scaleTargetRef?: { readonly kind: string; readonly name: string };
  readonly podSelector?: Selector;
  readonly policyTypes?: readonly string[];
  readonly ingress?: readonly NetworkRule[];
  readonly egress?: readonly NetworkRule[];
}

export interface KubernetesObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly labels?: Labels };
  readonly spec?: Spec;
  readonly data?: Labels;
  readonly subjects?: readonly { kind: string; name: string }[];
  readonly roleRef?: { readonly kind: string; readonly name: string };
}

/** What has pods. */
export interface Workload {
  readonly kind: string;
  readonly name: string;
  readonly labels: Labels;
  readonly pod: PodSpec;
  readonly spec: Spec;
}

/** `Kind name`, as messages say it. */
export function titleOf({ kind, metadata }: KubernetesObject): string {
  return `${kind} ${metadata.name}`;
}

export function workloadsOf(objects: readonly KubernetesObject[]): Workload[] {
  return objects.flatMap(({ kind, metadata, spec }) =>
    spec?.template === undefined
      ? []
      : [{ kind, name: metadata.name, labels: spec.template.metadata.labels, pod: spec.template.spec, spec }],
  );
}

/** The objects of a kind. */
export function ofKind(objects: readonly KubernetesObject[], kind: string): KubernetesObject[] {
  return objects.filter((object) => object.kind === kind);
}

/** Whether labels satisfy a selector; an empty one selects everything. */
export function selects(selector: Selector, labels: Labels): boolean {
  const { matchLabels = {}, matchExpressions = [] } = selector;
  return (
    Object.entries(matchLabels).every(([key, value]) => labels[key] === value) &&
    matchExpressions.every(({ key, operator, values = [] }) => {
      if (operator !== 'In') throw new Error(`the checks know no operator ${operator}`);
      return values.includes(labels[key] ?? '');
    })
  );
}

/** Bytes of a quantity, as 512Mi, 10Gi. */
export function bytesOf(quantity: string): number {
  const match = /^(\d+)(Ki|Mi|Gi|Ti)$/.exec(quantity);
  if (match === null) throw new Error(`the checks know no quantity ${quantity}`);
  return Number(match[1]) * 1024 ** (['Ki', 'Mi', 'Gi', 'Ti'].indexOf(match[2]!) + 1);
}
