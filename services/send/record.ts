/**
 * What a line says.
 *
 * An object whose keys are exactly one of `data`, `report` and `result`, and perhaps `time`, is an envelope: its value is
 * the record's data, `time` is ms since 1970. Every other object is the data itself, of telemetry, and its time is now. An
 * envelope with a `seq` is refused: seqs are given by `holdfast send`.
 */
import type { DeviceKind } from '../../shared/device.js';

export interface LineRecord {
  readonly kind: DeviceKind;
  readonly data: unknown;
  readonly time: number | undefined;
}

export interface BadLine {
  readonly problem: string;
}

const KINDS: Readonly<Record<string, DeviceKind>> = { data: 'telemetry', report: 'report', result: 'result' };

/** @returns undefined for a line that is blank */
export function readRecord(bytes: Buffer): LineRecord | BadLine | undefined {
  const text = bytes.toString('utf8').trim();
  if (text === '') return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return { problem: error instanceof Error ? error.message : 'not JSON' };
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return { problem: 'not a JSON object' };
  return readObject({ ...value });
}

function readObject(value: Readonly<Record<string, unknown>>): LineRecord | BadLine {
  const keys = Object.keys(value);
  const kinds = keys.filter((key) => Object.hasOwn(KINDS, key));
  const others = keys.filter((key) => !Object.hasOwn(KINDS, key) && key !== 'time' && key !== 'seq');
  const key = kinds[0];
  if (key === undefined || kinds.length > 1 || others.length > 0) {
    return { kind: 'telemetry', data: value, time: undefined };
  }
  if ('seq' in value) return { problem: '"seq" is given by holdfast send: leave it out' };
  const { time } = value;
  if (time !== undefined && !(typeof time === 'number' && Number.isSafeInteger(time) && time > 0)) {
    return { problem: '"time" must be whole milliseconds since 1970' };
  }
  return { kind: KINDS[key]!, data: value[key], time };
}
