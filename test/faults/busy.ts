/** A service that is busy, so that its receive queues are full, when the peer of its links is killed. */
import { setTimeout as sleep } from 'node:timers/promises';
import { packagePath } from '../../shared/paths.js';
import type { Pipeline } from '../support/pipeline.js';
import { inPipeline } from './dependencies.js';
import type { Outcome } from './outcome.js';

const BUSY = packagePath('dist', 'test', 'faults', 'busy-thread.js');
/** The queues fill up within this, far from the end of the busy time. */
const FILL_MS = 1_500;

type Name = keyof Pipeline['services'];

/** `busy` does nothing for some seconds; meanwhile `killed` is killed and started again. @throws Error where `busy` ends by that */
export function killBesideBusy(busy: Name, killed: Name): Promise<Outcome> {
  const environment = { NODE_OPTIONS: `--import=${BUSY}` };
  const name = `the ${killed} killed while the ${busy} is busy`;
  return inPipeline(name, { environment }, FILL_MS, async ({ pipeline, fleet, forMs }) => {
    const { [busy]: still, [killed]: doomed } = pipeline.services;
    const { pid } = still;
    fleet.send(1_000);
    process.kill(pid, 'SIGUSR2');
    await sleep(forMs);
    await doomed.end('SIGKILL');
    await Promise.all([doomed.start(), still.untilReady()]);
    if (!still.running || still.pid !== pid) throw new Error(`the ${busy} has ended:\n${still.output}`);
  });
}
