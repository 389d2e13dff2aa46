import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'tap';
import { TestLive } from '../../test/support/live.js';
import { HoldfastError } from '../../shared/errors.js';
import { tailLive } from './live-tail.js';

const TOKEN = 'a-token-of-the-api';

void test('the records of a device are shown as they pass, until there are enough', async (t) => {
  const live = await TestLive.start({ LIVE_API_TOKEN: TOKEN });
  t.teardown(() => live.stop());
  let text = '';
  const tail = { isOver: false };
  const tailing = tailLive({
    url: live.url,
    token: TOKEN,
    device: 'press-1',
    limit: 3,
    signal: new AbortController().signal,
    write: (more) => {
      text += more;
      return Promise.resolve();
    },
    onNotice: (notice) => t.fail(notice),
  }).finally(() => (tail.isOver = true));
  for (let seq = 1; !tail.isOver; seq++) {
    await live.publish([
      { device: 'press-1', seq },
      { device: 'press-2', seq },
    ]);
    await sleep(5);
  }
  await tailing;
  const records = text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { device: string; seq: number });
  t.strictSame(
    records.map(({ device }) => device),
    ['press-1', 'press-1', 'press-1'],
  );
  t.equal(records[2]!.seq, records[0]!.seq + 2, 'none is left out');
});

void test('what keeps it from the service is said', async (t) => {
  const live = await TestLive.start({ LIVE_API_TOKEN: TOKEN });
  t.teardown(() => live.stop());
  const signal = new AbortController().signal;
  const rest = { device: undefined, limit: 1, signal, write: () => Promise.resolve(), onNotice: () => undefined };
  const refused = { code: 'link_closed', message: /Unexpected server response: 401/ };
  await t.rejects(tailLive({ url: live.url, token: undefined, ...rest }), refused);
  await t.rejects(tailLive({ url: 'ws://127.0.0.1:1/v1/live', token: undefined, ...rest }), HoldfastError);
});
