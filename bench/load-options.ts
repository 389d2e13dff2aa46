/** What a load does; passed to its process as JSON. */
/** What a load can speak; see protocols.ts. */
export const PROTOCOLS = ['binary', 'json', 'http', 'udp', 'redis', 'mqtt', 'nats', 'amqp', 'postgres'] as const;
export type Protocol = (typeof PROTOCOLS)[number];

export interface LoadOptions {
  readonly protocol: Protocol;
  readonly host: string;
  readonly port: number;
  readonly connections: number;
  /** Records that a connection keeps unacked (closed loop), and the most in one write. */
  readonly inFlight: number;
  readonly payloadBytes: number;
  /** Of a device; other protocols have one. 'all': what is sent at once goes in one frame, as shared/device.ts sends it. */
  readonly recordsAFrame: number | 'all';
  readonly warmupSeconds: number;
  /** The window that is measured. */
  readonly seconds: number;
  /** Not 0: an open loop with this rate. */
  readonly recordsPerSecond: number;
  /** Of an open loop: records of one connection that fall due together, before those of the next. */
  readonly recordsAWrite: number;
  /** Not 0: a closed loop that ends when about so many records are sent and acked, however long it takes. */
  readonly records: number;
}

/** The shape that the issue asks for, and that every side of a comparison gets. */
export const LOAD_SHAPE = {
  host: '127.0.0.1',
  connections: 100,
  inFlight: 64,
  payloadBytes: 200,
  recordsAFrame: 1,
} as const;

/** @throws Error where the text is not the JSON of options */
export function readLoadOptions(text: string | undefined): LoadOptions {
  const given: unknown = JSON.parse(text ?? 'null');
  if (typeof given !== 'object' || given === null) throw new Error(`not the options of a load: ${String(text)}`);
  const values = new Map<string, unknown>(Object.entries(given));
  const number = (key: string): number => {
    const value = values.get(key);
    if (typeof value !== 'number' || !(value >= 0)) throw new Error(`the load's ${key} is ${String(value)}`);
    return value;
  };
  const protocol = PROTOCOLS.find((name) => name === values.get('protocol'));
  if (protocol === undefined) throw new Error(`the load's protocol is ${String(values.get('protocol'))}`);
  return {
    protocol,
    host: String(values.get('host')),
    port: number('port'),
    connections: number('connections'),
    inFlight: number('inFlight'),
    payloadBytes: number('payloadBytes'),
    recordsAFrame: values.get('recordsAFrame') === 'all' ? 'all' : number('recordsAFrame'),
    warmupSeconds: number('warmupSeconds'),
    seconds: number('seconds'),
    recordsPerSecond: number('recordsPerSecond'),
    recordsAWrite: number('recordsAWrite'),
    records: number('records'),
  };
}
