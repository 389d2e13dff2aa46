/**
 * Records as lines (NDJSON), for `tail` and `export`:
 *
 *   {"position":"epoch:offset","device":"press-1","kind":"telemetry","seq":1,"time":…,"received":…,"data":{…}}
 *
 * The data is the payload's own bytes, set into the line as they are, so that no number changes on its way; line feeds, which
 * JSON allows between its tokens, become spaces. A payload that is no JSON in UTF-8 is `"base64":"…"` in place of data.
 */
import { isUtf8 } from 'node:buffer';
import { Kind, readBatchHeader, RecordCursor } from '../../shared/batch.js';
import { formatPosition } from '../../shared/position.js';

const KIND_NAMES: ReadonlyMap<number, string> = new Map(Object.entries(Kind).map(([name, kind]) => [kind, name]));

/** The lines of a batch's records, each with its line feed; of one device where an id is given. */
export function* linesOf(batch: Buffer, device?: string): Generator<string> {
  const position = formatPosition(readBatchHeader(batch).position);
  for (const cursor = new RecordCursor(batch); cursor.next();) {
    const { deviceId } = cursor;
    if (device === undefined || deviceId === device) yield lineOf(cursor, position, deviceId);
  }
}

function lineOf(record: RecordCursor, position: string, device: string): string {
  const { seq, timeMs: time, receivedMs: received, payload } = record;
  const kind = KIND_NAMES.get(record.kind) ?? record.kind;
  const head = JSON.stringify({ position, device, kind, seq, time, received }).slice(0, -1);
  const text = jsonText(payload);
  if (payload.length === 0) return `${head}}\n`;
  if (text === undefined) return `${head},"base64":"${payload.toString('base64')}"}\n`;
  return `${head},"data":${text}}\n`;
}

function jsonText(payload: Buffer): string | undefined {
  if (!isUtf8(payload)) return undefined;
  const text = payload.toString('utf8');
  try {
    JSON.parse(text);
  } catch {
    return undefined;
  }
  return /[\r\n]/.test(text) ? text.replaceAll(/[\r\n]/g, ' ') : text;
}
