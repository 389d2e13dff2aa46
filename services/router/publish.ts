/**
 * The router's monitor thread: publishes batches as they are committed (PUB), and the head alone every 250 ms, so that
 * a subscriber sees a gap at the tail too.
 *
 * It starts at the head: what is older, and what PUB drops at its high-water mark, consumers fetch. It releases nothing:
 * batches are released when every consumer has acked them (consumers.ts).
 */
import { Publisher } from 'zeromq';
import { readBatchHeader, recordCount } from '../../shared/batch.js';
import { BATCH_TOPIC, encodePublished, HEAD_TOPIC } from '../../shared/consumer-frames.js';
import { PUBLISHING_OPTIONS } from '../../shared/links.js';
import { runMonitorThread, type MonitorThread } from '../../shared/monitor-thread.js';
import { encodePosition } from '../../shared/position.js';

export interface PublishSettings {
  readonly endpoint: string;
}

const HEAD_INTERVAL_MS = 250;
const PEEK_BYTES = 1024 * 1024;
/** Batches a slow subscriber may have waiting before PUB drops for it: 16 MiB of full batches. */
const SUBSCRIBER_BATCHES = 64;

await runMonitorThread(async (thread: MonitorThread<PublishSettings>): Promise<void> => {
  const socket = new Publisher({ ...PUBLISHING_OPTIONS, sendHighWaterMark: SUBSCRIBER_BATCHES });
  await socket.bind(thread.settings.endpoint);
  let through = thread.head;
  let headDueMs = 0;
  while (!thread.stopped) {
    const peek = thread.peek(through, PEEK_BYTES);
    through = peek.through;
    let records = 0;
    for (const batch of peek.batches) {
      records += recordCount(batch);
      await socket.send([BATCH_TOPIC, encodePublished(readBatchHeader(batch).position, thread.head), batch]);
    }
    if (records > 0) thread.report({ records });
    if (performance.now() >= headDueMs) {
      // What was published, not what was committed: a subscriber that is behind this has missed something.
      await socket.send([HEAD_TOPIC, encodePosition(through)]);
      headDueMs = performance.now() + HEAD_INTERVAL_MS;
    }
    if (peek.batches.length === 0) await thread.wake.wait(HEAD_INTERVAL_MS);
  }
  socket.close();
});
