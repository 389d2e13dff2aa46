import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';
import { test, type Test } from 'tap';
import { Admin } from '../shared/admin.js';
import { MALLOC_ENVIRONMENT } from '../shared/malloc.js';
import { createRegistry } from '../shared/metrics.js';
import { packagePath } from '../shared/paths.js';
import { VERSION } from '../shared/version.js';
import { clusterOf, linksOf, type Cluster } from './support/deploy/cluster.js';
import {
  exampleNames,
  interpolate,
  problemsOfCompose,
  problemsOfComposeSchema,
  readCompose,
  type Compose,
} from './support/deploy/compose.js';
import { ADMIN_PATHS, problemsOfContainers } from './support/deploy/containers.js';
import { problemsOfNetwork } from './support/deploy/network.js';
import { ofKind, type Container, type KubernetesObject } from './support/deploy/objects.js';
import { problemsOfReferences } from './support/deploy/references.js';
import { asFile, parseDocuments, readDocuments, render } from './support/deploy/render.js';
import { problemsOfSchema } from './support/deploy/schema.js';
import { documentedSecrets, madeSecrets, runMakeSecrets } from './support/deploy/secrets.js';
import { problemsOfWiring, WIRING } from './support/deploy/wiring.js';
import { freePort } from './support/ports.js';

const K8S = packagePath('k8s');
const OWN_DATABASE = join(K8S, 'overlays', 'own-database');

const whole = render(K8S);
const ownDatabase = render(OWN_DATABASE);

const wholeSecrets = await madeSecrets(whole);
const ownDatabaseSecrets = await madeSecrets(ownDatabase);

function wholeCluster(): Cluster {
  return clusterOf(whole, wholeSecrets);
}

/** With the Secret that the overlay's comment says how to create. */
function ownDatabaseCluster(): Cluster {
  const text = readFileSync(join(OWN_DATABASE, 'kustomization.yaml'), 'utf8');
  return clusterOf(ownDatabase, new Map([...ownDatabaseSecrets, ...documentedSecrets(text)]));
}

function problemsOf(cluster: Cluster): string[] {
  return [...problemsOfReferences(cluster), ...problemsOfContainers(cluster), ...problemsOfNetwork(cluster)];
}

async function problemsOfSchemas(objects: readonly KubernetesObject[]): Promise<string[]> {
  return (await Promise.all(objects.map((object) => problemsOfSchema(object)))).flat();
}

void test('every manifest is what the Kubernetes schemas allow, with no field that they do not know', async (t) => {
  t.ok(whole.length > 50);
  t.strictSame(await problemsOfSchemas(whole), []);
  t.strictSame(await problemsOfSchemas(ownDatabase), []);
});

void test('the manifests fit each other, the services and the links between them', (t) => {
  t.strictSame(problemsOf(wholeCluster()), []);
  t.end();
});

void test('so they do with a database of your own, once the Secret is there that the overlay asks for', (t) => {
  const cluster = ownDatabaseCluster();
  t.strictSame(problemsOf(cluster), []);
  t.notOk(cluster.workloads.some(({ name }) => name === 'timescaledb'));
  const outside = linksOf(cluster).filter(({ to, port }) => to === undefined && port === 5432);
  t.strictSame(outside.map(({ from }) => from).sort(), ['grafana', 'live', 'shadow', 'storage']);
  t.end();
});

void test('kubectl apply -f k8s applies the same objects as kubectl apply -k k8s, the namespace first', (t) => {
  // Whatever else lay beside holdfast.yaml would be applied too: kubectl takes these endings, and no folders.
  t.strictSame(
    readdirSync(K8S).filter((name) => /\.(ya?ml|json)$/.test(name)),
    ['holdfast.yaml'],
  );
  const path = join(K8S, 'holdfast.yaml');
  const isFresh = readFileSync(path, 'utf8') === asFile(whole);
  t.ok(isFresh, 'k8s/holdfast.yaml is not made from what is there: node dist/test/support/deploy/write-manifests.js');
  const kinds = (readDocuments(path) as KubernetesObject[]).map(({ kind }) => kind);
  t.equal(kinds[0], 'Namespace');
  t.ok(kinds.lastIndexOf('ConfigMap') < kinds.indexOf('StatefulSet'));
  t.equal(kinds.length, whole.length);
  t.end();
});

void test('every manifest says the same in YAML 1.1, which is what kubectl reads', (t) => {
  const files = readdirSync(K8S, { recursive: true, encoding: 'utf8' }).filter((name) => /\.yaml$|tion$/.test(name));
  t.ok(files.includes('holdfast.yaml') && files.includes('Kustomization'));
  for (const name of files) {
    const text = readFileSync(join(K8S, name), 'utf8');
    t.strictSame(parseDocuments(text, name, '1.1'), parseDocuments(text, name), name);
  }
  // What `off` is to kubectl, which refused a container whose environment had it.
  t.strictSame(parseDocuments('value: off', 'a planted one', '1.1'), [{ value: false }]);
  t.end();
});

void test('kubectl kustomize makes the same of the folders as these tests', (t) => {
  for (const [folder, objects] of [[K8S, whole] as const, [OWN_DATABASE, ownDatabase] as const]) {
    const text = kustomize(folder);
    if (text === undefined) {
      t.pass('skipped: there is no kubectl', { skip: true });
      continue;
    }
    t.strictSame(byTitle(text), byTitle(asFile(objects)), relative(K8S, folder) || 'k8s');
  }
  t.end();
});

/** undefined where kubectl is not installed. It is asked to read these files alone: no cluster, no credentials. */
function kustomize(folder: string): string | undefined {
  try {
    const env = { PATH: '/usr/local/bin:/usr/bin:/bin', HOME: '/nonexistent', KUBECONFIG: '/dev/null' };
    return execFileSync('kubectl', ['kustomize', folder], { env, encoding: 'utf8', timeout: 20_000 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

function byTitle(text: string): Record<string, unknown> {
  return Object.fromEntries(readText(text).map((object) => [`${object.kind} ${object.metadata.name}`, object]));
}

function readText(text: string): KubernetesObject[] {
  return parseDocuments(text, 'the output of kubectl') as KubernetesObject[];
}

void test('no manifest, board or rule is forgotten', (t) => {
  for (const folder of ['base', 'database', 'monitoring', 'overlays/own-database']) {
    const listed = readFileSync(join(K8S, folder, 'kustomization.yaml'), 'utf8');
    const files = readdirSync(join(K8S, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => statSync(join(K8S, folder, name)).isFile())
      // Prometheus' file for compose.yaml, which mounts it, and prose.
      .filter(
        (name) => name !== 'kustomization.yaml' && name !== join('prometheus', 'compose.yaml') && !name.endsWith('.md'),
      );
    t.strictSame(
      files.filter((name) => !new RegExp(`^ +- (\\S+=)?${name.replaceAll('.', '\\.')}$`, 'm').test(listed)),
      [],
      `${folder}/kustomization.yaml names every file`,
    );
  }
  const mounted = JSON.stringify(readCompose());
  t.ok(mounted.includes('./k8s/monitoring/rules:') && mounted.includes('./k8s/monitoring/dashboards:'));
  t.end();
});

void test('the paths that the probes ask are served', async (t) => {
  const port = await freePort();
  const admin = new Admin({ host: '127.0.0.1', port }, createRegistry('test'), () => []);
  await admin.start();
  t.teardown(() => admin.stop());
  for (const path of ADMIN_PATHS) t.equal((await fetch(`http://127.0.0.1:${port}${path}`)).status, 200, path);
});

void test('the table of links knows every key of the services that holds an address', (t) => {
  t.strictSame(problemsOfWiring(), []);
  const edge = { ...WIRING['edge']!, listens: { devices: 'EDGE_LISTEN' }, connects: ['EDGE_ROUTER', 'EDGE_ROUTERS'] };
  const problems = problemsOfWiring({ edge });
  t.ok(problems.includes('edge: EDGE_ADMIN_LISTEN is not wired'));
  t.ok(problems.includes('edge: EDGE_ROUTERS is no key of it'));
  t.end();
});

void test('secrets are made where there are none, long enough and never the same; what is there is left', async (t) => {
  const names = ['holdfast-secrets', 'holdfast-database'];
  const [first, second] = [await runMakeSecrets(names), await runMakeSecrets(names)];
  t.equal(first.code, 0);
  t.strictSame([...first.made.keys()], names);
  const values = [first, second].flatMap(({ made }) => [
    ...Object.values(made.get('holdfast-secrets')!),
    made.get('holdfast-database')!['password']!,
    made.get('holdfast-database')!['reader-password']!,
  ]);
  t.equal(new Set(values).size, values.length);
  t.ok(values.every((value) => /^[0-9a-f]{48}$/.test(value)));
  t.notOk(
    values.some((value) => `${first.output}${second.output}`.includes(value)),
    'none is shown',
  );

  const again = await runMakeSecrets(names, names);
  t.strictSame([again.code, again.made.size], [0, 0]);
  t.match(again.output, /holdfast-secrets: is there already/);
  t.equal((await runMakeSecrets(['secrets'])).code, 78);
  t.equal((await runMakeSecrets([])).code, 78);
});

void test('the commands that create Secrets by hand name the keys that are read', (t) => {
  const documented = documentedSecrets(readFileSync(join(K8S, 'base', 'secrets.yaml'), 'utf8'));
  t.strictSame(keysOf(documented.get('holdfast-secrets')), keysOf(wholeSecrets.get('holdfast-secrets')));
  const overlay = documentedSecrets(readFileSync(join(OWN_DATABASE, 'kustomization.yaml'), 'utf8'));
  const read = JSON.stringify(ownDatabase).matchAll(/"name":"holdfast-database","key":"([\w-]+)"/g);
  t.strictSame(keysOf(overlay.get('holdfast-database')), [...new Set([...read].map(([, key]) => key))].sort());
  t.end();
});

function keysOf(values: object | undefined): string[] {
  return Object.keys(values ?? {}).sort();
}

/** A copy of the manifests in which one thing is wrong. */
type Change = (objects: KubernetesObject[]) => void;

function changed(change: Change): KubernetesObject[] {
  const copy = structuredClone(whole);
  change(copy);
  return copy;
}

/** Plain, writable views, because the faults are planted by hand. */
interface Loose {
  readonly [key: string]: Loose;
}

function find(objects: KubernetesObject[], kind: string, name: string): Loose {
  const found = ofKind(objects, kind).find(({ metadata }) => metadata.name === name);
  if (found === undefined) throw new Error(`no ${kind} ${name}`);
  return found as unknown as Loose;
}

function podOf(objects: KubernetesObject[], kind: string, name: string): Loose {
  return find(objects, kind, name)['spec']!['template']!['spec']!;
}

function containerOf(objects: KubernetesObject[], kind: string, name: string): Loose {
  return podOf(objects, kind, name)['containers']![0]!;
}

function set(target: Loose, key: string, value: unknown): void {
  if (value === undefined) Reflect.deleteProperty(target, key);
  else Reflect.set(target, key, value);
}

function dropLast(list: Loose): void {
  (list as unknown as unknown[]).pop();
}

function append(list: Loose, value: unknown): void {
  (list as unknown as unknown[]).push(value);
}

const badSchemas: readonly (readonly [what: string, change: Change, problem: RegExp])[] = [
  [
    'a mistyped field',
    (o) => set(containerOf(o, 'StatefulSet', 'edge'), 'readinesProbe', {}),
    /has no field .*readinesProbe/,
  ],
  [
    'a field in the wrong place',
    (o) => set(podOf(o, 'StatefulSet', 'edge'), 'replicas', 2),
    /has no field spec.template.spec.replicas/,
  ],
  ['a required field', (o) => set(find(o, 'StatefulSet', 'edge')['spec']!, 'selector', undefined), /selector/],
  ['a wrong type', (o) => set(find(o, 'Service', 'edge')['spec']!['ports']![0]!, 'port', 'admin'), /integer/],
  ['an unknown kind', (o) => set(find(o, 'Job', 'make-secrets'), 'kind', 'Jobs'), /no batch\/v1 Jobs/],
];

void test('what the schemas forbid is found', async (t) => {
  for (const [what, change, problem] of badSchemas) {
    const problems = await problemsOfSchemas(changed(change));
    t.equal(problems.length, 1, what);
    t.match(problems[0], problem, what);
  }
});

const policy = (o: KubernetesObject[], name: string): Loose => find(o, 'NetworkPolicy', name)['spec']!;
const config = (o: KubernetesObject[], name: string): Loose => find(o, 'ConfigMap', name)['data']!;
const env = (o: KubernetesObject[], kind: string, name: string, at: number): Loose =>
  containerOf(o, kind, name)['env']![at]!;

const faults: readonly (readonly [what: string, change: Change, problem: RegExp])[] = [
  [
    'labels',
    (o) =>
      set(find(o, 'Deployment', 'live')['spec']!['selector']!['matchLabels']!, 'app.kubernetes.io/component', 'lives'),
    /Deployment live does not select its own pods/,
  ],
  [
    'a Service that selects nothing',
    (o) => set(find(o, 'Service', 'devices')['spec']!['selector']!, 'app.kubernetes.io/component', 'edges'),
    /Service devices selects 0 workloads/,
  ],
  [
    'a target port',
    (o) => set(find(o, 'Service', 'devices')['spec']!['ports']![0]!, 'targetPort', 'device'),
    /Service devices: its pods have no port device/,
  ],
  [
    'datagrams sent to a port of connections',
    (o) => set(find(o, 'Service', 'devices')['spec']!['ports']![1]!, 'protocol', undefined),
    /Service devices: port udp speaks UDP, not TCP/,
  ],
  [
    'a headless Service',
    (o) => set(find(o, 'Service', 'router')['spec']!, 'clusterIP', undefined),
    /StatefulSet router: Service router is no headless/,
  ],
  [
    'a budget',
    (o) =>
      set(
        find(o, 'PodDisruptionBudget', 'edge')['spec']!['selector']!['matchLabels']!,
        'app.kubernetes.io/component',
        'live',
      ),
    /edge has 0 PodDisruptionBudgets/,
  ],
  [
    'an autoscaler',
    (o) => set(find(o, 'HorizontalPodAutoscaler', 'edge')['spec']!['scaleTargetRef']!, 'kind', 'Deployment'),
    /scales nothing/,
  ],
  ['replicas beside it', (o) => set(find(o, 'StatefulSet', 'edge')['spec']!, 'replicas', 2), /edge sets replicas too/],
  [
    'a role',
    (o) => set(find(o, 'RoleBinding', 'make-secrets')['roleRef']!, 'name', 'make-secret'),
    /no Role make-secret$/,
  ],
  [
    'a namespace',
    (o) => set(find(o, 'Service', 'live')['metadata']!, 'namespace', 'default'),
    /Service live is in namespace default/,
  ],
  ['two of a name', (o) => void o.push(structuredClone(o.at(-1)!)), /is there twice/],
  [
    'a volume',
    (o) => set(containerOf(o, 'Deployment', 'live')['volumeMounts']![0]!, 'name', 'temp'),
    /mounts temp, which it does not have/,
  ],
  [
    'a ConfigMap in a volume',
    (o) => set(find(o, 'ConfigMap', 'redis-config')['metadata']!, 'name', 'redis'),
    /no ConfigMap redis-config/,
  ],
  [
    'a ConfigMap of keys',
    (o) => set(find(o, 'ConfigMap', 'edge')['metadata']!, 'name', 'edge-config'),
    /edge: there is no ConfigMap edge/,
  ],
  [
    'a Secret',
    (o) => set(env(o, 'StatefulSet', 'edge', 0)['valueFrom']!['secretKeyRef']!, 'key', 'secret'),
    /nobody makes holdfast-secrets\/secret/,
  ],
  [
    'a Secret that is too short',
    (o) => void Object.assign(env(o, 'StatefulSet', 'edge', 0), { value: 'CHANGE-ME', valueFrom: undefined }),
    /EDGE_DEVICE_SECRET=\(hidden\) is not allowed/,
  ],
  [
    'no Secret at all',
    (o) => set(containerOf(o, 'StatefulSet', 'edge'), 'env', []),
    /set EDGE_DEVICE_SECRET, or listen on 127.0.0.1/,
  ],
  [
    'a key that nobody reads',
    (o) => set(config(o, 'edge'), 'EDGE_ROUTERS', 'tcp://router:7310'),
    /edge does not read EDGE_ROUTERS/,
  ],
  ['a mistyped prefix', (o) => set(config(o, 'edge'), 'EGDE_QUOTA', '1GiB'), /edge does not read EGDE_QUOTA/],
  ['a value', (o) => set(config(o, 'router'), 'ROUTER_QUOTA', '24Gi'), /ROUTER_QUOTA="24Gi" is not allowed/],
  [
    'values that do not fit each other',
    (o) => set(config(o, 'edge'), 'EDGE_WINDOW', '1KiB'),
    /EDGE_WINDOW=1024 is under EDGE_FRAME_LIMIT/,
  ],
  [
    'a link that is not set',
    (o) => set(config(o, 'live'), 'LIVE_ROUTER_PUBLISH', undefined),
    /LIVE_ROUTER_PUBLISH is not set/,
  ],
  [
    'a name that no Service has',
    (o) => set(config(o, 'edge'), 'EDGE_ROUTER', 'tcp://routers:7310'),
    /edge: EDGE_ROUTER: no Service routers/,
  ],
  [
    'a port that no Service has',
    (o) => set(config(o, 'edge'), 'EDGE_ROUTER', 'tcp://router:7313'),
    /EDGE_ROUTER: no port 7313 of Service router/,
  ],
  [
    'a port that is listened on',
    (o) => set(config(o, 'shadow'), 'SHADOW_DOWNLINK', 'tcp://0.0.0.0:7322'),
    /shadow listens on downlink 7322, its pod says 7321/,
  ],
  ['another service', (o) => set(containerOf(o, 'Deployment', 'live'), 'args', ['storage']), /live runs storage/],
  ['no such service', (o) => set(containerOf(o, 'Deployment', 'live'), 'args', ['lives']), /there is no service lives/],
  [
    'a probe path',
    (o) => set(containerOf(o, 'Deployment', 'live')['livenessProbe']!['httpGet']!, 'path', '/health'),
    /livenessProbe asks \/health, which nobody serves/,
  ],
  [
    'ready for alive',
    (o) => set(containerOf(o, 'Deployment', 'live')['livenessProbe']!['httpGet']!, 'path', '/readyz'),
    /livenessProbe asks \/readyz, not \/healthz/,
  ],
  [
    'a probe port',
    (o) => set(containerOf(o, 'Deployment', 'live')['readinessProbe']!['httpGet']!, 'port', 'metrics'),
    /readinessProbe asks port metrics/,
  ],
  [
    'no probe',
    (o) => set(containerOf(o, 'StatefulSet', 'redis'), 'startupProbe', undefined),
    /redis has no startupProbe/,
  ],
  [
    'another image',
    (o) => set(containerOf(o, 'Deployment', 'live'), 'image', 'holdfast:0.0.9'),
    /holdfast:0.0.9 is not holdfast:/,
  ],
  [
    'an image without a version',
    (o) => set(containerOf(o, 'StatefulSet', 'redis'), 'image', 'docker.io/library/redis:7'),
    /redis:7 is not pinned/,
  ],
  [
    'resources',
    (o) => set(containerOf(o, 'Deployment', 'live')['resources']!['limits']!, 'memory', undefined),
    /live has no limits of memory/,
  ],
  ['root', (o) => set(podOf(o, 'StatefulSet', 'redis')['securityContext']!, 'runAsUser', 0), /redis may run as root/],
  [
    'a writable root',
    (o) => set(containerOf(o, 'StatefulSet', 'edge')['securityContext']!, 'readOnlyRootFilesystem', false),
    /edge may write to its root/,
  ],
  [
    'capabilities',
    (o) => set(containerOf(o, 'StatefulSet', 'edge')['securityContext']!, 'capabilities', undefined),
    /edge has privileges/,
  ],
  [
    'a token',
    (o) => set(podOf(o, 'StatefulSet', 'edge'), 'automountServiceAccountToken', undefined),
    /edge has a token/,
  ],
  [
    'a queue on no volume',
    (o) => set(config(o, 'edge'), 'EDGE_QUEUE', '/tmp/edge'),
    /EDGE_QUEUE=\/tmp\/edge is on no volume that stays/,
  ],
  ['a quota over the volume', (o) => set(config(o, 'router'), 'ROUTER_QUOTA', '40GiB'), /are over 80 % of its claim/],
  [
    'too little time to stop',
    (o) => set(podOf(o, 'StatefulSet', 'edge'), 'terminationGracePeriodSeconds', 10),
    /edge is killed after 10000 ms/,
  ],
  [
    'no way in',
    (o) => set(policy(o, 'router')['ingress']![0]!['ports']![0]!, 'port', 7311),
    /router:7310 does not let edge in, which EDGE_ROUTER asks for/,
  ],
  [
    'no way out',
    (o) => dropLast(policy(o, 'edge')['egress']!),
    /edge may not send to shadow:7321, which EDGE_DOWNLINK asks for/,
  ],
  [
    'no way out to Redis',
    (o) => dropLast(policy(o, 'shadow')['egress']!),
    /shadow may not send to redis:6379, which SHADOW_REDIS/,
  ],
  [
    'no way to the metrics',
    (o) => dropLast(policy(o, 'prometheus')['egress']!),
    /prometheus may not send to live:7349/,
  ],
  [
    'no way to the database',
    (o) => void o.splice(o.indexOf(find(o, 'NetworkPolicy', 'database-clients') as unknown as KubernetesObject), 1),
    /storage may not send to timescaledb:5432/,
  ],
  [
    'a way that nobody needs',
    (o) => {
      set(policy(o, 'redis')['ingress']![0]!, 'from', undefined);
      append(policy(o, 'live')['egress']!, { ports: [{ port: 6379, protocol: 'TCP' }] });
    },
    /live may connect to redis:6379, which nothing asks for/,
  ],
  [
    'a door to anybody',
    (o) => set(policy(o, 'redis')['ingress']![0]!, 'from', undefined),
    /redis:6379 is open to anybody/,
  ],
  [
    'no policy at all',
    (o) => void o.splice(0, o.length, ...o.filter(({ kind }) => kind !== 'NetworkPolicy')),
    /timescaledb:5432 is open to anybody/,
  ],
  [
    'devices shut out',
    (o) => set(policy(o, 'edge')['ingress']![0]!, 'from', [{ podSelector: {} }]),
    /edge:7300 is for others, who are not let in/,
  ],
  [
    'MQTT shut out',
    (o) => dropLast(policy(o, 'edge')['ingress']![0]!['ports']!),
    /edge:1883 is for others, who are not let in/,
  ],
  [
    'connections let in where datagrams come',
    (o) => set(policy(o, 'edge')['ingress']![0]!['ports']![1]!, 'protocol', 'TCP'),
    /edge:5000 is for others, who are not let in/,
  ],
  [
    'MQTT without an address',
    (o) => dropLast(find(o, 'Service', 'devices')['spec']!['ports']!),
    /edge:1883 is for others, and has no address/,
  ],
  [
    'no load balancer',
    (o) => set(find(o, 'Service', 'devices')['spec']!, 'type', undefined),
    /edge:7300 is for others, and has no address/,
  ],
  [
    'a way to the internet',
    (o) =>
      append(policy(o, 'storage')['egress']!, {
        to: [{ ipBlock: { cidr: '0.0.0.0/0' } }],
        ports: [{ port: 443, protocol: 'TCP' }],
      }),
    /storage may leave the cluster to port 443/,
  ],
  [
    'no way to the API server',
    (o) => dropLast(policy(o, 'make-secrets')['egress']!),
    /make-secrets may not leave the cluster to port 443/,
  ],
  [
    'no names',
    (o) => void o.splice(o.indexOf(find(o, 'NetworkPolicy', 'names') as unknown as KubernetesObject), 1),
    /edge may not ask for names/,
  ],
];

void test('every fault that is planted in the manifests is found', (t) => {
  for (const [what, change, problem] of faults) {
    const problems = problemsOf(clusterOf(changed(change), wholeSecrets));
    t.ok(
      problems.some((line) => problem.test(line)),
      what,
      { problems: problems.slice(0, 5) },
    );
  }
  t.end();
});

/** compose.yaml with values for its variables, as .env would have them. */
function filledCompose(): Compose {
  const variables = Object.fromEntries(exampleNames().map((name) => [name, 'a-long-enough-secret']));
  return interpolate(readCompose(), variables);
}

void test('compose.yaml is what the Compose specification allows, and fits the services', (t) => {
  const compose = filledCompose();
  t.strictSame(problemsOfComposeSchema(compose), []);
  t.strictSame(problemsOfCompose(compose), []);
  const expected = [...Object.keys(WIRING), 'timescaledb', 'redis', 'prometheus', 'grafana'];
  t.strictSame(Object.keys(compose.services).sort(), expected.sort());
  t.end();
});

void test('compose.yaml asks for every secret of .env.example by name, and starts nothing without it', (t) => {
  const text = readFileSync(packagePath('compose.yaml'), 'utf8');
  const used = [...text.matchAll(/\$\{(\w+)/g)].map(([, name]) => name!);
  t.strictSame([...new Set(used)].sort(), exampleNames().sort());
  for (const name of exampleNames()) t.ok(text.includes(`\${${name}:?set ${name} in .env`), name);
  t.match(readFileSync(packagePath('.gitignore'), 'utf8'), /^\.env$/m);
  t.end();
});

const composeFaults: readonly (readonly [what: string, change: (compose: Loose) => void, problem: RegExp])[] = [
  [
    'a key of the schema',
    ({ services }) => set(services!['edge']!, 'readonly', true),
    /additional properties.*readonly/,
  ],
  [
    'a key that nobody reads',
    ({ services }) => set(services!['edge']!['environment']!, 'EDGE_ROUTERS', 'x'),
    /edge does not read EDGE_ROUTERS/,
  ],
  [
    'a value',
    ({ services }) => set(services!['edge']!['environment']!, 'EDGE_LISTEN', '7300'),
    /EDGE_LISTEN="7300" is not allowed/,
  ],
  [
    'a short secret',
    ({ services }) => set(services!['live']!['environment']!, 'LIVE_API_TOKEN', 'short'),
    /LIVE_API_TOKEN=\(hidden\)/,
  ],
  [
    'a service',
    ({ services }) => set(services!['edge']!['environment']!, 'EDGE_ROUTER', 'tcp://routers:7310'),
    /EDGE_ROUTER names routers/,
  ],
  [
    'a port of a service',
    ({ services }) => set(services!['edge']!['environment']!, 'EDGE_ROUTER', 'tcp://router:7300'),
    /router:7300, where nobody listens/,
  ],
  [
    'datagrams published as connections',
    ({ services }) => set(services!['edge']!, 'ports', ['5000:5000']),
    /edge publishes 5000, where nobody listens/,
  ],
  ['a published port', ({ services }) => set(services!['edge']!, 'ports', ['7301:7301']), /edge publishes 7301/],
  ['another command', ({ services }) => set(services!['edge']!, 'command', ['router']), /edge runs router/],
  [
    'an image',
    ({ services }) => set(services!['redis']!, 'image', 'docker.io/library/redis:latest'),
    /redis:latest is not pinned/,
  ],
  [
    'no dependency',
    ({ services }) => set(services!['live']!['depends_on']!, 'postgres', { condition: 'service_started' }),
    /live depends on postgres/,
  ],
  [
    'a wait without an end',
    ({ services }) => set(services!['redis']!, 'healthcheck', undefined),
    /redis has no health check/,
  ],
  [
    'a health check that is disabled',
    ({ services }) => set(services!['demo']!, 'healthcheck', { disable: true }),
    /demo has no health check/,
  ],
  [
    'a health check that nobody answers',
    ({ services }) => set(services!['demo']!, 'healthcheck', { test: ['CMD', 'holdfast', 'health'] }),
    /demo: its health check asks nobody/,
  ],
  [
    'a file',
    ({ services }) => set(services!['redis']!, 'volumes', ['redis:/data', './k8s/redis.conf:/etc/redis/redis.conf:ro']),
    /redis mounts .\/k8s\/redis.conf, which is not there/,
  ],
  [
    'a volume',
    ({ services }) => set(services!['edge']!, 'volumes', ['edges:/var/lib/holdfast']),
    /there is no volume edges/,
  ],
  [
    'a queue on no volume',
    ({ services }) => set(services!['edge']!, 'volumes', []),
    /\/var\/lib\/holdfast\/edge is on no volume/,
  ],
  ['a writable root', ({ services }) => set(services!['edge']!, 'read_only', undefined), /edge may write to its root/],
];

void test('every fault that is planted in compose.yaml is found', (t) => {
  for (const [what, change, problem] of composeFaults) {
    const compose = structuredClone(filledCompose());
    change(compose as unknown as Loose);
    const problems = [...problemsOfComposeSchema(compose), ...problemsOfCompose(compose)];
    t.ok(
      problems.some((line) => problem.test(line)),
      what,
      { problems: problems.slice(0, 5) },
    );
  }
  t.throws(() => interpolate({ a: '${NOBODY}' }, {}), /NOBODY is not in .env.example/);
  t.end();
});

void test('compose.yaml and Kubernetes run the same images, with the same settings', (t) => {
  const { services } = filledCompose();
  const containers = wholeCluster().workloads.flatMap(({ pod }) => pod.containers);
  for (const { name, image } of containers.filter((container): container is Container => container.name in services)) {
    t.equal(services[name]!.image, image, name);
  }
  const shared = ['SHADOW_STORE', 'ROUTER_CONSUMERS', 'EDGE_ROUTER', 'EDGE_DOWNLINK'];
  const settings = Object.assign({}, ...ofKind(whole, 'ConfigMap').map(({ data }) => data)) as Record<string, string>;
  const composed = Object.assign(
    {},
    ...Object.values(services).map(({ environment }) => environment),
  ) as typeof settings;
  for (const key of shared) t.equal(composed[key], settings[key], key);
  t.end();
});

void test('what is documented and deployed names no key that no service reads', (t: Test) => {
  const known = new Set(Object.values(WIRING).flatMap(({ fields }) => Object.values(fields).map(({ key }) => key)));
  const prefixes = Object.keys(WIRING).map((service) => service.toUpperCase());
  const mention = new RegExp(`\\b(?:${prefixes.join('|')})_[A-Z][A-Z_]*[A-Z]\\b`, 'g');
  for (const path of ['README.md', 'DESIGN.md', 'Dockerfile', 'compose.yaml', '.env.example', 'k8s/holdfast.yaml']) {
    const text = readFileSync(packagePath(path), 'utf8').replace(/\$\{?\w+/g, '');
    const unknown = [...text.matchAll(mention)].map(([key]) => key).filter((key) => !known.has(key));
    t.strictSame(unknown, [], path);
  }
  t.end();
});

void test('the image exposes the ports that are listened on, and builds what is there', (t) => {
  const text = readFileSync(packagePath('Dockerfile'), 'utf8');
  const exposed = /^EXPOSE (.*)$/m.exec(text)![1]!.split(' ');
  const listened = Object.values(WIRING).flatMap(({ fields, listens }) =>
    Object.values(fields)
      .filter(({ key }) => Object.values(listens).includes(key))
      .map(({ key, fallback }) => `${fallback!.split(':').at(-1)!}${key === listens['udp'] ? '/udp' : ''}`),
  );
  t.strictSame(exposed, listened.sort());
  t.match(text, /^ARG BASE=docker\.io\/library\/node:20\.\d+\.\d+-bookworm-slim$/m);
  for (const [key, value] of Object.entries(MALLOC_ENVIRONMENT))
    t.match(text, new RegExp(`^ENV ${key}=${value}$`, 'm'));
  t.match(text, /^USER \d+:\d+$/m);
  t.ok(readFileSync(packagePath('compose.yaml'), 'utf8').includes(`image: holdfast:${VERSION}`));
  const ignored = readFileSync(packagePath('.dockerignore'), 'utf8');
  for (const [, source] of text.matchAll(/^COPY (?!--from)(.*) \S+$/gm)) {
    for (const path of source!.split(' ')) {
      t.ok(statSync(packagePath(path)), path);
      t.ok(ignored.includes(`!${path}`), `${path} is in the context`);
    }
  }
  t.end();
});
