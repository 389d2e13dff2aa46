/** A monitor thread for tests: it does what its settings say with what it peeks. */
import { readBatchHeader } from '../../shared/batch.js';
import { runMonitorThread, type MonitorThread } from '../../shared/monitor-thread.js';
import { seqsOf } from './batches.js';

export interface ScriptSettings {
  /** `forward` reports and releases every batch; the others end the thread. */
  readonly how: 'forward' | 'throw' | 'return' | 'exit';
}

await runMonitorThread(async (thread: MonitorThread<ScriptSettings>): Promise<void> => {
  if (thread.settings.how === 'throw') throw new Error('the link is of another world');
  if (thread.settings.how === 'return') return;
  if (thread.settings.how === 'exit') process.exit(3);
  let after = thread.released;
  while (!thread.stopped) {
    const { batches, through } = thread.peek(after, 100_000);
    after = through;
    for (const batch of batches) {
      for (const seq of seqsOf(batch)) thread.report({ seq });
      thread.release(readBatchHeader(batch).position);
    }
    if (batches.length === 0) await thread.wake.wait(60_000);
  }
  thread.report({ stopped: 1 });
});
