/**
 * How a simulated device reaches its edge: all that differs from one protocol to the next.
 *
 * A FleetDevice knows its records, what of them is acked, and when to come back; a FleetConnection knows bytes. To add a
 * protocol: write a Dialer, name it in `PROTOCOLS` and make it in dialer.ts. What a protocol has to keep to:
 *
 *   - `opened` is called once records may be sent, with how many may be under way unacked;
 *   - `acked(seq)` is cumulative: a protocol whose acks come one by one holds back those that overtake;
 *   - a connection that sends something again by itself says so with `resent`;
 *   - after `ended`, `cut()` or `close()` nothing is called any more, and what was under way counts as not sent;
 *   - nothing is kept of a run after send() returned but what is on its way: there are tens of thousands of connections.
 */

/** Consecutive records of one device; their times are as far apart as its interval. */
export interface RecordRun {
  readonly firstSeq: number;
  readonly count: number;
  /** Of the first record, ms since 1970. */
  readonly firstTimeMs: number;
  readonly intervalMs: number;
}

/** What a connection tells its device. */
export interface ConnectionOwner {
  /** Records may be sent now, `maxUnacked` of them before the first is acked. */
  opened(maxUnacked: number): void;
  /** Every record through seq is durable at the edge, but those that were refused. */
  acked(seq: number): void;
  /** Records were sent again on this connection. */
  resent(count: number): void;
  /** The edge will not take a record, and the connection stays; undefined: it did not say which. */
  refused(seq: number | undefined, problem: string): void;
  /** The connection is over, or was never made; the last call. */
  ended(end: ConnectionEnd): void;
}

export interface ConnectionEnd {
  readonly reason: string;
  /** How long the edge asked to stay away. */
  readonly retryAfterMs: number | undefined;
  /** True where the same request would be refused again: the id, the credential or the address is wrong. */
  readonly isRefused: boolean;
}

export interface FleetConnection {
  /** Sends records, in order, in as few messages as the protocol allows. */
  send(run: RecordRun): void;
  /** Ends it as a network does that goes away: at once and without a word. */
  cut(): void;
  /** Ends it as a device does that is switched off. */
  close(): void;
}

/** Who a device says it is, and which address of this machine it comes from. */
export interface DeviceIdentity {
  readonly id: string;
  readonly token: string | undefined;
  /** Undefined: the machine chooses. */
  readonly localAddress: string | undefined;
}

/** Makes the connections of one process; what they share (buffers, payloads) is its. */
export interface Dialer {
  dial(device: DeviceIdentity, owner: ConnectionOwner): FleetConnection;
}

/** The protocols of `--protocol`. */
export const PROTOCOLS = ['json', 'binary', 'mqtt', 'http', 'udp'] as const;
export type FleetProtocol = (typeof PROTOCOLS)[number];

/** Where the edge is, its name resolved already: thousands of connections must not each ask for it. */
export interface EdgeAddress {
  /** An IP address. */
  readonly host: string;
  readonly port: number;
  /** The name in the URL, for the Host header and for TLS. */
  readonly name: string;
  readonly isSecure: boolean;
}

export interface DialerOptions {
  readonly edge: EdgeAddress;
  readonly protocol: FleetProtocol;
  /** Bytes of JSON of each record's payload. */
  readonly payloadBytes: number;
}
