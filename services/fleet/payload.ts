/** The payload of a fleet's records: readings, and padding up to the size that was asked for. */

const START = '{"temperature":21.5,"pressure":1013.2,"padding":"';
const END = '"}';

/** The smallest payload there is. */
export const MIN_PAYLOAD_BYTES = START.length + END.length;

/** @param bytes MIN_PAYLOAD_BYTES or more */
export function makePayload(bytes: number): Buffer {
  return Buffer.from(START + 'x'.repeat(bytes - MIN_PAYLOAD_BYTES) + END, 'latin1');
}
