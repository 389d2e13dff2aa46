/**
 * The message of a record to clients: `{"device":…,"time":…,"seq":…,"data":…,"type":…,"site":…}`, with the payload's own
 * bytes in it. They are checked to be JSON in UTF-8 first: whatever a device had sent would otherwise stand in the middle of
 * our own JSON.
 */
import { isUtf8 } from 'node:buffer';
import type { RecordCursor } from '../../shared/batch.js';
import type { Context } from '../../shared/context.js';

/** @returns undefined where the record's payload is not JSON */
export function buildMessage(record: RecordCursor, deviceId: string, context: Context): Buffer | undefined {
  const { payload } = record;
  if (!isJson(payload)) return undefined;
  const head = `{"device":${JSON.stringify(deviceId)},"time":${record.timeMs},"seq":${record.seq},"data":`;
  const tail = `,"type":${JSON.stringify(context.type)},"site":${JSON.stringify(context.site)}}`;
  return Buffer.concat([Buffer.from(head), payload, Buffer.from(tail)]);
}

function isJson(payload: Buffer): boolean {
  if (!isUtf8(payload)) return false;
  try {
    JSON.parse(payload.toString('utf8'));
    return true;
  } catch {
    return false;
  }
}
