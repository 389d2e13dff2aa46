/** Shadows against the fold of the reports that were acked, in the order in which each device sent them. */
import type { Findings } from './findings.js';
import { reportOf } from './payload.js';
import { Mark, type DeviceRecords } from './records.js';
import { mergeFields, sameFields, type Fields } from './shadow-fold.js';

/** What a device's shadow says to be reported; undefined: it has none. */
export type ShadowSource = (deviceId: string) => Promise<unknown>;

/** Every device must have nothing under way: what it sent is acked or refused. */
export async function checkShadows(
  records: ReadonlyMap<string, DeviceRecords>,
  reportedOf: ShadowSource,
  findings: Findings,
): Promise<void> {
  for (const device of records.values()) {
    let expected: Fields | undefined;
    for (let seq = 1; seq <= device.acked; seq++) {
      const isApplied = (device.marks(seq) & (Mark.report | Mark.refused)) === Mark.report;
      if (isApplied) expected = mergeFields(expected ?? {}, reportOf(seq), (value) => value);
    }
    const found = await reportedOf(device.id);
    if (sameFields(found, expected)) continue;
    findings.add('shadow', `${device.id} is ${JSON.stringify(found)} and not ${JSON.stringify(expected)}`);
  }
}
