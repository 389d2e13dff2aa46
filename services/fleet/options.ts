/** The options that `holdfast fleet` and `holdfast fleet burst` share: declared once, read and checked together. */
import { Option, type Command } from 'commander';
import { MAX_PAYLOAD_BYTES } from '../../shared/batch.js';
import { databaseUrl, duration, integer, optional, readConfig, secret, type Field } from '../../shared/config.js';
import { HoldfastError } from '../../shared/errors.js';
import { PROTOCOLS, type FleetProtocol } from './connection.js';
import { DEFAULT_EDGES } from './edge-address.js';
import type { FleetOptions } from './fleet.js';
import { MIN_PAYLOAD_BYTES } from './payload.js';
import { MAX_DATAGRAM_PAYLOAD_BYTES } from './udp-datagrams.js';

const DAY_MS = 86_400_000;

const DESCRIPTION = 'how records travel: json and binary over WebSocket, mqtt with QoS 1, http, udp';

/** What must not show in ps. */
export const fleetFields = {
  deviceSecret: secret('FLEET_DEVICE_SECRET', 'the secret of EDGE_DEVICE_SECRET, where the edge asks for tokens'),
  databaseUrl: optional(
    databaseUrl('FLEET_DATABASE_URL', undefined, 'the database that --verify looks into, where it is given no URL'),
  ),
} as const;

/** As commander gives them. */
export interface FleetFlags {
  readonly edge?: string;
  readonly devices: string;
  readonly interval: string;
  readonly size: string;
  readonly protocol: FleetProtocol;
  readonly ramp: string;
  readonly buffer: string;
  readonly processes?: string;
  readonly json?: boolean;
}

export const numbers = {
  devices: integer('--devices', 1_000, 1, 5_000_000, ''),
  interval: duration('--interval', '1s', 1, DAY_MS, ''),
  size: integer('--size', 200, MIN_PAYLOAD_BYTES, MAX_PAYLOAD_BYTES, ''),
  ramp: duration('--ramp', '10s', 0, DAY_MS, ''),
  buffer: integer('--buffer', 3_600, 1, 10_000_000, ''),
  processes: integer('--processes', 1, 1, 1_000, ''),
  duration: duration('--duration', '10m', 1, 365 * DAY_MS, ''),
  verifyWait: duration('--verify-wait', '2m', 1, DAY_MS, ''),
} as const;

/** @param devices how many there are by default */
export function addFleetOptions(command: Command, devices: number): Command {
  return command
    .option('--devices <count>', 'how many devices', String(devices))
    .option('--interval <time>', 'between two records of a device', numbers.interval.fallback)
    .option('--size <bytes>', "of a record's payload, JSON", numbers.size.fallback)
    .addOption(new Option('--protocol <name>', DESCRIPTION).choices([...PROTOCOLS]).default('binary'))
    .option('--ramp <time>', 'in which the devices come, one after the other', numbers.ramp.fallback)
    .option('--buffer <records>', 'that a device keeps; a full one gives up its oldest', numbers.buffer.fallback)
    .option('--processes <count>', 'default: as few as will do, 20,000 devices in each');
}

/**
 * @param edge undefined: where an edge of this machine is found as it comes
 * @throws HoldfastError bad_config
 */
export function readFleetOptions(flags: FleetFlags, edge: string | undefined): FleetOptions {
  const { deviceSecret } = readConfig('FLEET', fleetFields);
  return {
    edge: edge ?? DEFAULT_EDGES[flags.protocol],
    devices: parsed(numbers.devices, flags.devices),
    intervalMs: parsed(numbers.interval, flags.interval),
    payloadBytes: readSize(flags),
    protocol: flags.protocol,
    rampMs: parsed(numbers.ramp, flags.ramp),
    bufferRecords: parsed(numbers.buffer, flags.buffer),
    processes: flags.processes === undefined ? undefined : parsed(numbers.processes, flags.processes),
    deviceSecret,
  };
}

function readSize({ size, protocol }: FleetFlags): number {
  const bytes = parsed(numbers.size, size);
  if (protocol !== 'udp' || bytes <= MAX_DATAGRAM_PAYLOAD_BYTES) return bytes;
  const message = `--size ${bytes}: allowed with --protocol udp: at most ${MAX_DATAGRAM_PAYLOAD_BYTES}, what one datagram holds`;
  throw new HoldfastError('bad_config', message, false);
}

/**
 * Where to verify: the URL of the option, or that of the environment where the option has none.
 * @throws HoldfastError bad_config
 */
export function verifyUrl(given: string | true | undefined): string | undefined {
  if (given === undefined) return undefined;
  if (given !== true) return parsed(databaseUrl('--verify', undefined, ''), given);
  const { databaseUrl: url } = readConfig('FLEET', fleetFields);
  if (url !== undefined) return url;
  throw new HoldfastError('bad_config', '--verify: give it a URL, or set FLEET_DATABASE_URL', false);
}

/** @throws HoldfastError bad_config with what is allowed */
export function parsed<T>(field: Field<T>, text: string): T {
  const value = field.parse(text);
  if (value !== undefined) return value;
  const shown = field.secret === true ? '' : ` ${text}`;
  throw new HoldfastError('bad_config', `${field.key}${shown}: allowed: ${field.allowed}`, false);
}
