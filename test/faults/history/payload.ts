/**
 * What devices of the fault tests send: the payload follows from device, seq and kind, so that what was sent can be told
 * from what was not without keeping it. In TypeScript for what queues hold, in SQL for the table.
 */

/** Kinds whose payloads are known. */
export type HistoryKind = 'telemetry' | 'report';

const PAD_BYTES = 90;

/** The data of the telemetry record with this seq. */
export function dataOf(deviceId: string, seq: number): { device: string; n: number; filler: string } {
  return { device: deviceId, n: seq, filler: 'x'.repeat(seq % PAD_BYTES) };
}

/** The report with this seq: it sets some fields, and removes others that were set before. */
export function reportOf(seq: number): Record<string, unknown> {
  return { n: seq, [`k${seq % 7}`]: seq % 3 === 0 ? null : seq, deep: { [`d${seq % 3}`]: seq % 5 } };
}

/** The payload as it travels, JSON. */
export function payloadOf(deviceId: string, seq: number, kind: HistoryKind): string {
  return JSON.stringify(kind === 'telemetry' ? dataOf(deviceId, seq) : reportOf(seq));
}

/** SQL: 1 where a row of telemetry holds dataOf(), 2 where it holds reportOf(), 0 where it holds anything else. */
export const KIND_OF_ROW_SQL = `case
  when data = jsonb_build_object('device', device_id, 'n', seq, 'filler', repeat('x', (seq % ${PAD_BYTES})::int)) then 1
  when data = jsonb_build_object('report', jsonb_build_object('n', seq, 'k' || seq % 7,
    case when seq % 3 = 0 then null else seq end, 'deep', jsonb_build_object('d' || seq % 3, seq % 5))) then 2
  else 0 end`;
