/** The records of a body, one after the other: one JSON value, the elements of an array, or the lines of NDJSON. */
import { isUtf8 } from 'node:buffer';
import { messageOf } from '../../../shared/errors.js';
import { scanArray } from '../json-scan.js';
import { RecordError } from '../record-rules.js';

/** How a body is cut into records: by its Content-Type. */
export type BodyForm = 'json' | 'ndjson';

/** One value of a body. */
export interface Element {
  /** The JSON text that it stands in. */
  readonly text: Buffer;
  /** Where it starts in the text, or white space before it. */
  readonly at: number;
  readonly value: unknown;
}

const NEW_LINE = 0x0a;
const JSON_SPACE: ReadonlySet<number> = new Set([0x20, 0x09, 0x0d]);

/** The elements in order; for a line, or a body, that is no JSON what is wrong with it. */
export function* elementsOf(body: Buffer, form: BodyForm): Generator<Element | RecordError> {
  if (form === 'ndjson') {
    for (const line of linesOf(body)) yield parse(line, 'the line');
    return;
  }
  const whole = parse(body, 'the body');
  if (whole instanceof RecordError || !Array.isArray(whole.value)) {
    yield whole;
    return;
  }
  const spans = scanArray(body, 0);
  for (const [index, value] of (whole.value as unknown[]).entries()) {
    yield { text: body, at: spans[index]!.start, value };
  }
}

function parse(text: Buffer, what: string): Element | RecordError {
  // toString would replace what is no UTF-8, and JSON.parse would not see it.
  if (!isUtf8(text)) return new RecordError('bad_json', `${what} of ${text.length} bytes is not UTF-8`);
  try {
    return { text, at: 0, value: JSON.parse(text.toString('utf8')) };
  } catch (error) {
    return new RecordError('bad_json', `${what} of ${text.length} bytes is not JSON: ${messageOf(error)}`);
  }
}

/** The lines that are not blank. */
function* linesOf(body: Buffer): Generator<Buffer> {
  for (let start = 0; start < body.length;) {
    const found = body.indexOf(NEW_LINE, start);
    const end = found < 0 ? body.length : found;
    const line = body.subarray(start, end);
    if (line.some((byte) => !JSON_SPACE.has(byte))) yield line;
    start = end + 1;
  }
}
