/** The keys of the demo fleet. */
import { databaseUrl, duration, readConfig, secret, type Config, type Field } from '../../shared/config.js';

const edge: Field<string> = {
  key: 'DEMO_EDGE',
  fallback: 'ws://127.0.0.1:7300',
  about: 'the edge that the engines connect to',
  allowed: 'a WebSocket URL, as ws://127.0.0.1:7300',
  parse: (value) => (/^wss?:\/\/\S+$/.test(value) && URL.canParse(value) ? value : undefined),
};

export const demoFields = {
  edge,
  databaseUrl: databaseUrl(
    'DEMO_DATABASE_URL',
    'postgres://holdfast@127.0.0.1:7332/holdfast',
    'where table devices is, for the type and site of the engines',
  ),
  intervalMs: duration('DEMO_INTERVAL', '1s', 1, 3_600_000, 'between two records of an engine'),
  deviceSecret: secret('DEMO_DEVICE_SECRET', 'the secret of EDGE_DEVICE_SECRET, where the edge asks for tokens'),
} as const;

export type DemoConfig = Config<typeof demoFields>;

/** @throws HoldfastError bad_config that lists every bad key */
export function readDemoConfig(environment?: Readonly<Record<string, string | undefined>>): DemoConfig {
  return readConfig('DEMO', demoFields, undefined, environment);
}
