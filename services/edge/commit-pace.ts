/**
 * How long a crowd's next commit waits.
 *
 * A commit under way is what gathers the next group, so the faster the disk, the smaller the groups; and each costs the edge some
 * hundred microseconds of CPU, and every hop behind it a batch. Where few records come that is the price of an early ack. In a
 * crowd it takes the processors from the records themselves: with 150,000 records/s and a disk that costs nothing the edge committed 600 to
 * 1,150 times a second at 6.3 µs of CPU a record; with commits 4 ms apart it took 5.0.
 */

/** From so many records a group is a crowd: fewer in flight than that are never made to wait. */
const CROWD_RECORDS = 96;
/** From the start of a crowd's commit to that of the next, at least. */
const APART_MS = 3;

/**
 * @param records of the commit that is over
 * @param tookMs from its start to its end
 * @returns ms that the next one waits, which gather more records; 0 for none
 */
export function pauseMs(records: number, tookMs: number): number {
  return records < CROWD_RECORDS ? 0 : Math.max(0, APART_MS - tookMs);
}
