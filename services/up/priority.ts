/**
 * Who comes first where everything shares the processors of one machine: the edge, for which devices wait, and the demo's
 * devices themselves. Everything behind the edge's queue has time: what it does later lies on disk meanwhile.
 */

/** Niceness, as in nice(1), of what no device waits for: about a third of the edge's share where both want all they can get. */
export const BEHIND_ACKS = 5;
