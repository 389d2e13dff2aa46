/** The parts of shadow, put together: main.ts runs them in a process of their own. */
import type { ContextCache } from '../../shared/context.js';
import type { DeliverySource } from '../../shared/delivery.js';
import type { Part } from '../../shared/lifecycle.js';
import type { Logger } from '../../shared/log.js';
import type { Registry } from '../../shared/metrics.js';
import type { ShadowApi } from './api.js';
import { Apply } from './apply.js';
import { CommandExpiry } from './command-expiry.js';
import { CommandOutbox } from './command-outbox.js';
import { Commands } from './commands.js';
import type { ShadowConfig } from './config.js';
import { ContextWatch } from './context-watch.js';
import { Downlink } from './downlink.js';
import { DownlinkMetrics } from './downlink-metrics.js';
import { HttpEndpoint } from './http/endpoint.js';
import { BODY_BYTES } from './http/limits.js';
import { HttpMetrics } from './http/metrics.js';
import { LmdbStore } from './lmdb-store.js';
import { Notify } from './notify.js';
import { PresenceWatch } from './presence-watch.js';
import { RedisStore } from './redis-store.js';
import { Results } from './results.js';
import { Shadows } from './shadows.js';
import type { Store } from './store.js';
import { StoreOpening } from './store-opening.js';
import { Things } from './things.js';

export interface ShadowOptions {
  readonly config: ShadowConfig;
  /** Where records come from, and are acked to. */
  readonly source: DeliverySource;
  /** Types and sites of devices; undefined: nobody knows them. */
  readonly context: Pick<ContextCache, 'load' | 'get'> | undefined;
  readonly registry: Registry;
  readonly log: Logger;
  readonly onFailure: (error: unknown) => void;
}

export interface Shadow {
  readonly store: Store;
  readonly things: Things;
  readonly endpoint: HttpEndpoint;
  /** In the order in which they start. */
  readonly parts: readonly Part[];
}

export function createShadow({ config, source, context, registry, log, onFailure }: ShadowOptions): Shadow {
  const { retentionMs } = config;
  const store = createStore(config, log);
  const onApplied = source.ack.bind(source);
  const things = new Things({ ...config, store, registry, log, onApplied, onFailure });
  const gauges = { devices: () => downlink.devices, waiting: () => notify.waiting };
  const metrics = new DownlinkMetrics(registry, gauges);
  const downlink: Downlink = new Downlink(config.downlink, metrics, log, onFailure);
  const outbox = new CommandOutbox(things, retentionMs, metrics, log);
  const notify: Notify = new Notify({ things, downlink, outbox, log, onFailure });
  const results = new Results(retentionMs, metrics);
  const limits = { documentBytes: config.documentBytes, depth: config.depth };
  const shadows = new Shadows(things, store, limits);
  const commands = new Commands({ things, store, outbox, metrics, maxPending: config.maxPending, retentionMs });
  const endpoint = new HttpEndpoint(
    { ...config, maxBodyBytes: BODY_BYTES },
    api(shadows, commands),
    new HttpMetrics(registry),
    log,
  );
  const parts = [
    new StoreOpening(store, log, onFailure),
    things,
    new Apply({ source, things, results, limits, log, onFailure }),
    ...(context === undefined ? [] : [new ContextWatch(things, context, log, onFailure)]),
    new CommandExpiry({ things, store, metrics, retentionMs, log, onFailure }),
    new PresenceWatch({ things, store, downlink, log, onFailure }),
    notify,
    downlink,
    endpoint,
  ];
  return { store, things, endpoint, parts };
}

function createStore(config: ShadowConfig, log: Logger): Store {
  const { directory, mapBytes, diskFloorBytes, redis, redisUnsafeMs, shard } = config;
  if (config.store === 'lmdb') return new LmdbStore({ path: directory, mapBytes, diskFloorBytes });
  return new RedisStore({ urls: redis, shard, unsafeMs: redisUnsafeMs, log });
}

/** The two halves of what applications ask for, as one. */
function api(shadows: Shadows, commands: Commands): ShadowApi {
  return {
    getShadow: (thing, name) => shadows.getShadow(thing, name),
    updateShadow: (thing, name, update) => shadows.updateShadow(thing, name, update),
    deleteShadow: (thing, name) => shadows.deleteShadow(thing, name),
    listNames: (thing, page) => shadows.listNames(thing, page),
    listThings: (filter, page) => shadows.listThings(filter, page),
    sendCommand: (thing, request) => commands.sendCommand(thing, request),
    sendCommands: (targets, request) => commands.sendCommands(targets, request),
    getCommand: (thing, id) => commands.getCommand(thing, id),
    listCommands: (thing, page) => commands.listCommands(thing, page),
    cancelCommand: (thing, id) => commands.cancelCommand(thing, id),
  };
}
