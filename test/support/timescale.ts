/** Databases of a PostgreSQL with TimescaleDB, where HOLDFAST_TEST_TIMESCALE_URL names one; tests that need it are skipped elsewhere. */
import { randomUUID } from 'node:crypto';
import type { Test } from 'tap';
import { optional, readConfig, type Field } from '../../shared/config.js';
import { query } from './storage.js';

const urlField: Field<string | undefined> = optional({
  key: 'HOLDFAST_TEST_TIMESCALE_URL',
  about: 'a database of a throwaway PostgreSQL with TimescaleDB, whose user may create databases',
  allowed: 'postgres://user@host:port/database',
  parse: (value: string) => (URL.canParse(value) ? value : undefined),
});

const server = readConfig('HOLDFAST_TEST', { url: urlField }).url;

/** Options of a test that needs TimescaleDB. */
export const needsTimescale = {
  skip: server === undefined ? `${urlField.key} names no PostgreSQL with TimescaleDB` : false,
} as const;

/** The URL of an empty database, which goes with the test. */
export async function timescaleDatabase(t: Test): Promise<string> {
  const name = `holdfast_${randomUUID().replaceAll('-', '')}`;
  await query(server!, `create database ${name}`);
  t.teardown(() => query(server!, `drop database ${name} with (force)`));
  const url = new URL(server!);
  url.pathname = name;
  return url.href;
}

/**
 * Brings telemetry_minute up to date. Its policy is removed first, which also ends a refresh of the database's own: two at once
 * are refused.
 */
export async function refreshMinutes(url: string): Promise<void> {
  await query(url, `select remove_continuous_aggregate_policy('telemetry_minute', if_exists => true)`);
  await query(url, `call refresh_continuous_aggregate('telemetry_minute', null, null)`);
}
