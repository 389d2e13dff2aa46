/** Credit: the bytes that an edge may have under way to the router, a share of what all may have together. */
import { MAX_BATCH_BYTES } from '../../shared/batch.js';

const TOTAL_BYTES = 64 * 1024 * 1024;
const MAX_BYTES = 16 * 1024 * 1024;

/**
 * The credit of each edge where the queue takes batches.
 * @param edges that are attached
 */
export function creditOf(edges: number): number {
  const share = Math.floor(TOTAL_BYTES / Math.max(1, edges));
  return Math.min(MAX_BYTES, Math.max(MAX_BATCH_BYTES, share));
}
