/** Live: the router's PUB → fan-out → WebSocket clients. Best effort; it keeps nothing and no router waits for it. */
import { ContextCache } from '../../shared/context.js';
import type { Part } from '../../shared/lifecycle.js';
import type { Logger } from '../../shared/log.js';
import type { Registry } from '../../shared/metrics.js';
import { StateLog } from '../../shared/state-log.js';
import { Subscription } from '../../shared/subscription.js';
import type { LiveConfig } from './config.js';
import { LiveContext } from './context.js';
import { LiveEndpoint } from './endpoint.js';
import { FanOut } from './fan-out.js';
import { LiveMetrics } from './metrics.js';
import { Subscriptions } from './subscriptions.js';

export interface Live {
  /** In the order in which they start. */
  readonly parts: readonly Part[];
  readonly endpoint: LiveEndpoint;
  readonly subscription: Subscription;
}

/**
 * Puts the parts together.
 * @param onFailure what to do about a fault after which going on makes no sense
 */
export function createLive(
  config: LiveConfig,
  log: Logger,
  registry: Registry,
  onFailure: (error: unknown) => void,
): Live {
  const cache = config.databaseUrl === undefined ? undefined : new ContextCache({ url: config.databaseUrl, log });
  const metrics = new LiveMetrics(registry, () => endpoint.clients);
  const subscriptions = new Subscriptions(config.maxSubscriptions);
  const endpoint: LiveEndpoint = new LiveEndpoint(config, subscriptions, metrics);
  const fanOut = new FanOut(subscriptions, new LiveContext(cache, log), metrics, onFailure);
  const link = new StateLog(log, 'new');
  const subscription = new Subscription({
    publish: config.routerPublish,
    log,
    onBatch: (batch, position) => fanOut.take(batch, position),
    onHead: (published) => fanOut.takeHead(published),
    onLink: (connected) => {
      const router = config.routerPublish;
      if (connected) link.enter('connected', 'info', { router }, 'connected to the router');
      else link.enter('lost', 'warn', { router }, 'no link to the router; clients get nothing meanwhile');
    },
  });
  const parts = cache === undefined ? [endpoint, subscription] : [cache, endpoint, subscription];
  return { parts, endpoint, subscription };
}
