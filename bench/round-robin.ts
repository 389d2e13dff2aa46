/** How the records of an open loop are shared out: `recordsAWrite` to each connection in turn. */

/** Which of all records, in the order in which they fall due, is number `seq` of connection `index`; all from 0. */
export function numberOf(seq: number, index: number, connections: number, recordsAWrite: number): number {
  const turn = Math.floor(seq / recordsAWrite);
  return (turn * connections + index) * recordsAWrite + (seq % recordsAWrite);
}

/** How many of the first `total` records are those of connection `index`. */
export function dueOf(total: number, index: number, connections: number, recordsAWrite: number): number {
  const ofATurn = connections * recordsAWrite;
  const turns = Math.floor(total / ofATurn);
  const rest = total - turns * ofATurn - index * recordsAWrite;
  return turns * recordsAWrite + Math.min(Math.max(rest, 0), recordsAWrite);
}
