/**
 * What the payload of a report or a result must be, whatever protocol brought it. Shadow acts on both after they are
 * acked, when the device cannot be told any more: so it is told here.
 */
import { Kind } from '../../shared/batch.js';
import { RecordError } from './record-rules.js';

/** As much of a path as a message has room for. */
const MAX_PATH_CHARACTERS = 120;

/**
 * A report is merged into a state: an object, or null, which removes what the device has reported. A result belongs to a
 * command: an object that names it. Telemetry may be anything.
 * @param value no deeper than the limit: it is walked by recursion
 * @throws RecordError bad_record
 */
export function admitPayload(kind: Kind, value: unknown, seq: number): void {
  if (kind === Kind.report) admitReport(value, seq);
  else if (kind === Kind.result) admitResult(value, seq);
}

function admitReport(value: unknown, seq: number): void {
  if (value === null) return;
  if (!isObject(value)) throw new RecordError('bad_record', '"report" must be an object or null', seq);
  const path = findNullInArray(value, false);
  if (path === undefined) return;
  // In an object null removes a member; an array is replaced whole, and null in it could mean nothing.
  const where = `report${path}`.slice(0, MAX_PATH_CHARACTERS);
  throw new RecordError('bad_record', `${where} is null; inside an array of a report nothing may be null`, seq);
}

function admitResult(value: unknown, seq: number): void {
  if (!isObject(value)) throw new RecordError('bad_record', '"result" must be an object', seq);
  if (typeof value['id'] !== 'string') {
    throw new RecordError('bad_record', '"result" must name its command: {"id":"…","status":"…"}', seq);
  }
}

/** The path of the first null that an array holds, directly or deeper, as `.doors[1].open`. */
function findNullInArray(value: unknown, inArray: boolean): string | undefined {
  if (value === null) return inArray ? '' : undefined;
  if (typeof value !== 'object') return undefined;
  if (Array.isArray(value)) {
    for (let index = 0; index < value.length; index++) {
      const path = findNullInArray(value[index], true);
      if (path !== undefined) return `[${index}]${path}`;
    }
    return undefined;
  }
  for (const [key, member] of Object.entries(value)) {
    const path = findNullInArray(member, inArray);
    if (path !== undefined) return `.${key.slice(0, MAX_PATH_CHARACTERS)}${path}`;
  }
  return undefined;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
