/**
 * How many connections this machine can have to one edge: a connection is told from others by its source address and port,
 * and the kernel gives about 28,000 ports an address. An edge on loopback is reached from as many addresses of 127.0.0.0/8 as
 * are needed (Linux alone has them all); towards any other there is one.
 */
import { readFileSync } from 'node:fs';
import { HoldfastError } from '../../shared/errors.js';
import { isLoopback } from '../../shared/config.js';

/**
 * Devices that share a source address of loopback. The kernel looks for a free port from a random one on: where most are taken
 * that is thousands of looks for each connection, so most are left free.
 */
export const SOURCE_DEVICES = 4_000;
/** 127.1.0.1 to 127.1.250.200. */
const MAX_SOURCES = 50_000;
/** macOS' range, the smallest that is common. */
const PORTS_ELSEWHERE = 16_384;
const RANGE_FILE = '/proc/sys/net/ipv4/ip_local_port_range';

/**
 * The source addresses that a fleet needs; none: one will do, and the machine chooses it.
 * @param host the edge's IP address
 * @throws HoldfastError bad_config
 */
export function sourceAddresses(host: string, devices: number): readonly string[] {
  if (devices <= SOURCE_DEVICES) return [];
  const count = Math.ceil(devices / SOURCE_DEVICES);
  const isLoopback4 = isLoopback(host) && host.includes('.') && process.platform === 'linux';
  if (isLoopback4 && count <= MAX_SOURCES) return Array.from({ length: count }, (_, index) => sourceAddress(index));
  const ports = localPorts();
  if (devices <= ports) return [];
  const message = `--devices ${devices}: this machine has ${ports} ports for connections to ${host}; run fleets on several machines, or widen net.ipv4.ip_local_port_range`;
  throw new HoldfastError('bad_config', message, false);
}

function sourceAddress(index: number): string {
  return `127.1.${Math.floor(index / 200)}.${1 + (index % 200)}`;
}

/** How many ports the kernel gives to outgoing connections. */
function localPorts(): number {
  if (process.platform !== 'linux') return PORTS_ELSEWHERE;
  const [first, last] = readFileSync(RANGE_FILE, 'utf8').trim().split(/\s+/).map(Number) as [number, number];
  return last - first + 1;
}
