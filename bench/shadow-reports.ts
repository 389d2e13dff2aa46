/**
 * The reports that shadow is measured with: 100,000 devices, ten numeric fields each, about 190 bytes of JSON, no value the
 * same as in the device's report before. Batches as an edge makes them: 256 KiB, stamped, one after the other.
 *
 * They are made once, before anything is timed, and written into files that every side reads: u32 size, batch, and so on.
 * `known` has one report of each device. `mixed` and `bursts` come after it, and hold the same reports: in the order of a
 * shuffle, and with the ten of each device in a row, as from a fleet whose devices send what they kept while offline.
 */
import { closeSync, mkdirSync, openSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { BatchBuilder, Kind, stampBatch } from '../shared/batch.js';
import { START, type Position } from '../shared/position.js';

export const DEVICES = 100_000;
export const REPORTS_A_DEVICE = 10;
export const REPORTS = DEVICES * REPORTS_A_DEVICE;
export const REPORTS_QUEUE_ID = '5b1e6c62-60c4-4f0e-9a7b-0f6f4a3f1c55';

export interface ReportFiles {
  readonly known: string;
  readonly mixed: string;
  readonly bursts: string;
  readonly payloadBytes: number;
}

const EPOCH = 1;
const FIELDS = [
  'fanSpeed',
  'coreSpeed',
  'inletT',
  'outletT',
  'bypass',
  'pressure',
  'fuelFlow',
  'bleedAir',
  'vibration',
  'surgeMargin',
];
/** A prime: a step that is no multiple of it never repeats a value at once. */
const VALUES = 8_999;
const VALUE_STEP = 1_009;
const FIELD_STEP = 577;
const DEVICE_STEP = 31;
/** `1000.11` to `9998.99`: texts of the same length, made once. */
const TEXTS = Array.from({ length: VALUES }, (_, at) => `${1_000 + at}.${11 + 2 * (at % 45)}`.replace(/0$/, '1'));
const SIZE_BYTES = 4;

/** The id of a device. */
export function deviceOf(index: number): string {
  return `engine-${String(index).padStart(6, '0')}`;
}

/** The JSON of a device's report. @param number 0 for its first */
export function reportOf(index: number, number: number): string {
  let text = '{';
  for (const [field, name] of FIELDS.entries()) {
    const value = (index * DEVICE_STEP + number * VALUE_STEP + field * FIELD_STEP) % VALUES;
    text += `${field === 0 ? '' : ','}"${name}":${TEXTS[value]!}`;
  }
  return `${text}}`;
}

/** Writes all three files into a directory. */
export function writeReports(directory: string): ReportFiles {
  mkdirSync(directory, { recursive: true });
  const [known, mixed, bursts] = [join(directory, 'known'), join(directory, 'mixed'), join(directory, 'bursts')];
  const devices = Uint32Array.from({ length: DEVICES }, (_, index) => index);
  const last = write(known, shuffled(devices), START);
  write(mixed, shuffled(Uint32Array.from({ length: REPORTS }, (_, at) => at % DEVICES)), last);
  const order = shuffled(devices);
  write(
    bursts,
    Uint32Array.from({ length: REPORTS }, (_, at) => order[Math.floor(at / REPORTS_A_DEVICE)]!),
    last,
  );
  return { known, mixed, bursts, payloadBytes: reportOf(0, 0).length };
}

/** The batches of a file, each in memory of its own, as a socket hands them out. */
export function readReports(file: string): Buffer[] {
  const bytes = readFileSync(file);
  const batches: Buffer[] = [];
  for (let at = 0; at < bytes.length;) {
    const start = at + SIZE_BYTES;
    at = start + bytes.readUInt32LE(at);
    batches.push(Buffer.from(bytes.subarray(start, at)));
  }
  return batches;
}

/** @returns the position of the last batch */
function write(file: string, order: Uint32Array, after: Position): Position {
  const descriptor = openSync(file, 'w');
  const ids = Array.from({ length: DEVICES }, (_, index) => Buffer.from(deviceOf(index), 'latin1'));
  const reports = new Uint8Array(DEVICES);
  const builder = new BatchBuilder();
  // Reports of `known` are each device's first; those of the other files go on from there, and are newer.
  const isKnown = after === START;
  if (!isKnown) reports.fill(1);
  const startMs = Date.now() - (isKnown ? 2 : 1) * REPORTS;
  let { offset } = after;
  const finish = (): void => {
    const batch = builder.build();
    stampBatch(batch, { epoch: EPOCH, offset: ++offset }, Date.now());
    const size = Buffer.alloc(SIZE_BYTES);
    size.writeUInt32LE(batch.length);
    writeSync(descriptor, size);
    writeSync(descriptor, batch);
    builder.reset();
  };
  for (const [at, index] of order.entries()) {
    const number = reports[index]!++;
    const payload = Buffer.from(reportOf(index, number), 'latin1');
    const timeMs = startMs + at;
    const add = (): boolean =>
      builder.add(Kind.report, ids[index]!, number + 1, timeMs, timeMs, payload, 0, payload.length);
    if (add()) continue;
    finish();
    add();
  }
  finish();
  closeSync(descriptor);
  return { epoch: EPOCH, offset };
}

/** The same order in every run: a linear congruential generator and Fisher and Yates. */
export function shuffled(values: Uint32Array): Uint32Array {
  let state = 12_345;
  for (let last = values.length - 1; last > 0; last--) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    const other = Math.floor((state / 2 ** 32) * (last + 1));
    [values[last], values[other]] = [values[other]!, values[last]!];
  }
  return values;
}
