/** `--edge ws://host:port`: read, and its name resolved once for all devices. */
import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { HoldfastError, messageOf } from '../../shared/errors.js';
import type { EdgeAddress } from './connection.js';

const PORTS: Readonly<Record<string, number>> = { 'ws:': 80, 'wss:': 443 };

/** @throws HoldfastError bad_config where it is no such URL; start_failed where nobody knows the name */
export async function resolveEdge(text: string): Promise<EdgeAddress> {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const defaultPort = url === undefined ? undefined : PORTS[url.protocol];
  if (url === undefined || defaultPort === undefined || url.pathname !== '/' || url.search !== '') {
    throw new HoldfastError('bad_config', `--edge ${text}: allowed: ws://host:port or wss://host:port`, false);
  }
  const name = url.hostname;
  const bare = name.replace(/^\[|\]$/g, '');
  const host = isIP(bare) > 0 ? bare : await resolveName(bare);
  return { host, port: url.port === '' ? defaultPort : Number(url.port), name, isSecure: url.protocol === 'wss:' };
}

async function resolveName(name: string): Promise<string> {
  try {
    return (await lookup(name)).address;
  } catch (error) {
    throw new HoldfastError('start_failed', `--edge: ${name} has no address: ${messageOf(error)}`, true, error);
  }
}
