import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'tap';
import { createLogger } from '../../shared/log.js';
import { until } from '../../test/support/processes.js';
import { sessionNicenessOf } from '../../test/support/session-niceness.js';
import { BEHIND_ACKS, childrenOf, yieldSessions } from './priority.js';

/** Starts a child that begins a session of its own when a file is there. */
const PARENT = 'sh -c \'until [ -e "$0" ]; do sleep 0.05; done; exec setsid sleep 600\' "$0" & wait';

void test(
  'a child that begins a session of its own after it was seen is put behind the edge too',
  { skip: sessionNicenessOf(process.pid) !== undefined ? false : 'sessions have no priority of their own here' },
  async (t) => {
    const directory = mkdtempSync(join(tmpdir(), 'holdfast-priority-'));
    const file = join(directory, 'begin');
    const parent = spawn('sh', ['-c', PARENT, file], { detached: true, stdio: 'ignore' });
    const gone = new AbortController();
    let children: number[] = [];
    try {
      await until(async () => (children = await childrenOf(parent.pid!)).length === 1);
      const done = yieldSessions('test', parent.pid!, createLogger('test', 2), gone.signal);
      const over = new AbortController();
      void done.then(() => over.abort());
      await until(() => over.signal.aborted || sessionNicenessOf(parent.pid!) === BEHIND_ACKS);
      // It gives up where nobody may change it, as in some containers.
      if (over.signal.aborted) return void t.pass('nobody may change it here');
      writeFileSync(file, '');
      await until(() => readFileSync(`/proc/${children[0]!}/comm`, 'utf8') === 'sleep\n');
      await until(() => sessionNicenessOf(children[0]!) === BEHIND_ACKS);
      t.pass('it is');
      gone.abort();
      await done;
    } finally {
      gone.abort();
      for (const pid of [...children, parent.pid!]) process.kill(pid, 'SIGKILL');
      await once(parent, 'exit');
      rmSync(directory, { recursive: true });
    }
  },
);
