/** What a fleet and its worker processes say to each other, over the IPC channel. */
import type { DialerOptions } from './connection.js';
import type { Counters } from './counters.js';
import type { Counts } from './histogram.js';
import type { Ledger } from './ledger.js';

/** What a worker is made with; it comes over the channel, because the secret must not show in ps. */
export interface WorkerSetup extends DialerOptions {
  /** Device ids are `fleet-<run>-<number>`. */
  readonly run: string;
  /** Number of the worker's first device, of how many it has, and of how many there are. */
  readonly firstDevice: number;
  readonly devices: number;
  readonly fleetDevices: number;
  readonly intervalMs: number;
  readonly rampMs: number;
  readonly bufferRecords: number;
  /** ms since 1970. */
  readonly startMs: number;
  readonly deviceSecret: string | undefined;
  /** Source addresses, each for SOURCE_DEVICES devices in turn; none: the machine chooses. */
  readonly sources: readonly string[];
}

export type ToWorker =
  | { readonly type: 'setup'; readonly setup: WorkerSetup }
  /** The network goes, and comes back. */
  | { readonly type: 'offline' }
  | { readonly type: 'online' }
  /** No more records are made. */
  | { readonly type: 'quiet' }
  /** Devices are switched off; the worker answers `finished`. */
  | { readonly type: 'finish' };

export type FromWorker =
  /** Now and then; quiet: it has heard that no more records are to be made. */
  | { readonly type: 'sample'; readonly counters: Counters; readonly latencies: Counts; readonly isQuiet: boolean }
  /** The fleet makes no sense as it was asked for, or the edge none. */
  | { readonly type: 'failed'; readonly message: string }
  | { readonly type: 'finished'; readonly counters: Counters; readonly latencies: Counts; readonly ledger: Ledger };
