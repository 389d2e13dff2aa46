/**
 * Makes the Secrets that are not there yet, with random values; one that exists is never touched. So `kubectl apply` on an
 * empty cluster needs no step before it, applying again changes no secret, and who wants values of their own creates the
 * Secret first.
 *
 *   node make-secrets.mjs holdfast-secrets [holdfast-database]
 *
 * Runs as a Job that may create Secrets in this namespace, and neither read nor change any.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';

const ACCOUNT = process.env.ACCOUNT_DIRECTORY ?? '/var/run/secrets/kubernetes.io/serviceaccount';
const API = process.env.API_SERVER ?? 'https://kubernetes.default.svc';
const TRIES = 20;
const PAUSE_MS = 3_000;

/** Letters and digits alone: it stands in URLs. */
const random = () => randomBytes(24).toString('hex');

const makers = {
  'holdfast-secrets': () => ({
    'device-secret': random(),
    'api-token': random(),
    'redis-password': random(),
    'grafana-password': random(),
  }),
  'holdfast-database': () => {
    const password = random();
    return {
      host: 'timescaledb:5432',
      name: 'holdfast',
      sslmode: 'disable',
      user: 'holdfast',
      password,
      url: `postgres://holdfast:${password}@timescaledb:5432/holdfast`,
      'reader-user': 'reader',
      'reader-password': random(),
    };
  },
};

async function create(name, namespace, token) {
  const response = await fetch(`${API}/api/v1/namespaces/${namespace}/secrets`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    signal: AbortSignal.timeout(10_000),
    body: JSON.stringify({
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name, namespace },
      stringData: makers[name](),
    }),
  });
  if (response.status === 201) return `${name}: made`;
  if (response.status === 409) return `${name}: is there already, left as it is`;
  throw new Error(`${name}: the API server answers ${response.status}`);
}

const names = process.argv.slice(2);
const unknown = names.filter((name) => !Object.hasOwn(makers, name));
if (names.length === 0 || unknown.length > 0) {
  console.error(`name at least one of ${Object.keys(makers).join(', ')}; unknown: ${unknown.join(', ')}`);
  process.exit(78);
}
const namespace = readFileSync(`${ACCOUNT}/namespace`, 'utf8').trim();
const token = readFileSync(`${ACCOUNT}/token`, 'utf8').trim();
for (const name of names) {
  for (let tried = 1; ; tried++) {
    try {
      console.log(await create(name, namespace, token));
      break;
    } catch (error) {
      // The network of a new pod may need some seconds until its policies let it out.
      console.error(`${error.message} (${error.cause?.message ?? 'no cause given'}), try ${tried} of ${TRIES}`);
      if (tried === TRIES) process.exit(1);
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }
}
