/** What a device is made with: options beside their defaults and limits, and the events it emits. */
import { join } from 'node:path';
import { MAX_BATCH_BYTES } from '../batch.js';
import type { DeviceCommand, DeviceKind } from '../device-frames.js';
import { HoldfastError } from '../errors.js';
import { MemoryBuffer, type RecordBuffer } from './buffer.js';
import { CommandMemory } from './command-memory.js';
import { FileBuffer } from './file-buffer.js';
import type { DeviceProtocol } from './session.js';

export interface DeviceOptions {
  /** The edge, as `ws://127.0.0.1:7300`. */
  readonly url: string;
  /** `^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$` */
  readonly id: string;
  readonly token?: string | undefined;
  /** How records travel; default `json`. */
  readonly protocol?: DeviceProtocol;
  readonly buffer?: BufferOptions;
  /** The bound of the first wait before a reconnect; default 200. */
  readonly minBackoffMs?: number;
  /** The bound that it doubles up to; default 30 000. */
  readonly maxBackoffMs?: number;
  /** Records are put into one message up to about this size; 1: each gets its own. Default 64 KiB, at most 256 KiB. */
  readonly maxMessageBytes?: number;
}

export interface BufferOptions {
  /** A directory of the device's own: records, and what commands were done, outlive the process. Absent: kept in memory. */
  readonly directory?: string;
  /** Default 16 MiB in memory, 64 MiB in files. */
  readonly maxBytes?: number;
  /** Default 100 000; in memory only. */
  readonly maxRecords?: number;
  /** Files only: true lets send() return once the record is on disk (fdatasync), so that it survives a power cut. */
  readonly sync?: boolean;
}

export interface SendOptions {
  /** ms since 1970; default: now. */
  readonly time?: number | undefined;
  /** Default `telemetry`. */
  readonly kind?: DeviceKind | undefined;
}

export interface DeviceEvents {
  /** The edge said hello; records are on their way. */
  open: [];
  /** Every record through seq that was not refused is durable. */
  ack: [seq: number];
  /** The edge will never take this record: it is dropped. */
  refused: [seq: number, code: string, message: string];
  /** The edge complains about something that is no record of ours. */
  complaint: [code: string, message: string];
  /** The connection ended, or none was made; undefined: the device will not connect again by itself. */
  close: [code: number, reason: string, retryInMs: number | undefined];
  /** What the device is to change in its state, as it arrives; onDelta() does it and reports. */
  delta: [delta: unknown, version: number];
  /** A command, as often as it arrives; onCommand() does each once and answers. */
  command: [command: DeviceCommand];
  /**
   * device_refused, device_closed (another session took over), disk_low, handler_failed, and what send() throws where a
   * report for a delta is not kept. As always in Node, throws without a listener.
   */
  error: [error: HoldfastError];
}

const DEVICE_ID = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$/;
const MIB = 1024 * 1024;
const DEFAULT_MESSAGE_BYTES = 64 * 1024;

/** The options of a device, whole and checked. */
export interface DeviceSettings {
  /** The device's own URL at the edge. */
  readonly url: string;
  readonly protocol: DeviceProtocol;
  readonly minBackoffMs: number;
  readonly maxBackoffMs: number;
  readonly maxMessageBytes: number;
}

/** @throws HoldfastError bad_config */
export function readOptions(options: DeviceOptions): DeviceSettings {
  if (!DEVICE_ID.test(options.id)) throw badConfig(`the device id ${JSON.stringify(options.id)} is not allowed`);
  const isUrl = /^wss?:\/\//.test(options.url) && URL.canParse(options.url);
  if (!isUrl) throw badConfig(`${JSON.stringify(options.url)} is no URL as ws://127.0.0.1:7300`);
  const { minBackoffMs = 200, maxBackoffMs = 30_000, maxMessageBytes = DEFAULT_MESSAGE_BYTES } = options;
  if (!(minBackoffMs > 0 && maxBackoffMs >= minBackoffMs)) {
    throw badConfig(`the back-off from ${minBackoffMs} to ${maxBackoffMs} ms is not allowed`);
  }
  return {
    url: `${options.url.replace(/\/+$/, '')}/v1/devices/${options.id}`,
    protocol: options.protocol ?? 'json',
    minBackoffMs,
    maxBackoffMs,
    maxMessageBytes: Math.min(maxMessageBytes, MAX_BATCH_BYTES),
  };
}

/**
 * The buffer that the options ask for.
 * @throws HoldfastError bad_config
 */
export function openBuffer(options: BufferOptions): RecordBuffer {
  const { directory, maxBytes, maxRecords = 100_000, sync = false } = options;
  if (directory !== undefined) return new FileBuffer({ directory, maxBytes: maxBytes ?? 64 * MIB, sync });
  return new MemoryBuffer({ maxBytes: maxBytes ?? 16 * MIB, maxRecords });
}

/** What the device remembers of its commands, beside its buffer. @param lastSeq the last seq that the buffer has given */
export function openCommandMemory({ directory, sync }: BufferOptions, lastSeq: number): CommandMemory {
  return new CommandMemory(directory === undefined ? undefined : join(directory, 'commands'), sync, lastSeq);
}

function badConfig(what: string): HoldfastError {
  return new HoldfastError('bad_config', `device: ${what}`, false);
}
