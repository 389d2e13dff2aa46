/** `--edge scheme://host:port`: read by its protocol, and its name resolved once for all devices. */
import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { HoldfastError, messageOf } from '../../shared/errors.js';
import type { EdgeAddress, FleetProtocol } from './connection.js';

interface Scheme {
  readonly name: string;
  /** Where the URL names none. */
  readonly port: number;
  readonly isSecure: boolean;
}

const WEBSOCKET: readonly Scheme[] = [
  { name: 'ws', port: 80, isSecure: false },
  { name: 'wss', port: 443, isSecure: true },
];

const SCHEMES: Readonly<Record<FleetProtocol, readonly Scheme[]>> = {
  json: WEBSOCKET,
  binary: WEBSOCKET,
  mqtt: [
    { name: 'mqtt', port: 1883, isSecure: false },
    { name: 'mqtts', port: 8883, isSecure: true },
  ],
  http: [
    { name: 'http', port: 80, isSecure: false },
    { name: 'https', port: 443, isSecure: true },
  ],
  udp: [{ name: 'udp', port: 5000, isSecure: false }],
};

/** Where an edge of this machine is found as it comes. */
export const DEFAULT_EDGES: Readonly<Record<FleetProtocol, string>> = {
  json: 'ws://127.0.0.1:7300',
  binary: 'ws://127.0.0.1:7300',
  mqtt: 'mqtt://127.0.0.1:1883',
  http: 'http://127.0.0.1:7300',
  udp: 'udp://127.0.0.1:5000',
};

/**
 * @throws HoldfastError bad_config where it is no URL, or one of another protocol; start_failed where nobody knows the name
 */
export async function resolveEdge(text: string, protocol: FleetProtocol): Promise<EdgeAddress> {
  const schemes = SCHEMES[protocol];
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const scheme = schemes.find(({ name }) => url?.protocol === `${name}:`);
  if (url === undefined || scheme === undefined || !isBare(url)) {
    const allowed = schemes.map(({ name }) => `${name}://host:port`).join(' or ');
    throw new HoldfastError('bad_config', `--edge ${text}: allowed with --protocol ${protocol}: ${allowed}`, false);
  }
  const name = url.hostname;
  const bare = name.replace(/^\[|\]$/g, '');
  const host = isIP(bare) > 0 ? bare : await resolveName(bare);
  return { host, port: url.port === '' ? scheme.port : Number(url.port), name, isSecure: scheme.isSecure };
}

/** True where it names nothing but a host and a port. */
function isBare({ hostname, pathname, search }: URL): boolean {
  return hostname !== '' && (pathname === '' || pathname === '/') && search === '';
}

async function resolveName(name: string): Promise<string> {
  try {
    return (await lookup(name)).address;
  } catch (error) {
    throw new HoldfastError('start_failed', `--edge: ${name} has no address: ${messageOf(error)}`, true, error);
  }
}
