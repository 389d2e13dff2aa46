import { ok } from 'node:assert/strict';
import fc from 'fast-check';
import { test } from 'tap';
import { TestEdge } from '../../../test/support/edge.js';
import { jsonFrame, mutated } from '../../../test/support/fuzz-frames.js';
import { HttpDevice } from '../../../test/support/http-device.js';

void test('good records before and after damaged bodies are stored and acked by the real edge', async (t) => {
  const edge = await TestEdge.start();
  const device = new HttpDevice(edge.port, 'good');
  const other = new HttpDevice(edge.port, 'fuzzed');
  const lines = fc.array(jsonFrame, { maxLength: 4 }).map((frames) => Buffer.from(frames.join('\n')));
  const body = fc.oneof(
    fc.tuple(mutated(jsonFrame), fc.constant('application/json')),
    fc.tuple(mutated(lines), fc.constant('application/x-ndjson')),
  );
  let seq = 0;
  await fc.assert(
    fc.asyncProperty(body, async ([bytes, type]) => {
      const { status, ack, errors } = await other.post(bytes, type);
      ok([200, 207, 400].includes(status));
      ok((status === 200) === (errors.length === 0) && (status === 400) === (ack === 0));
      ok((await device.send({ seq: ++seq, data: 'good' })).ack === seq);
    }),
    { numRuns: 200 },
  );
  t.strictSame(
    await edge.storedSeqs('good'),
    Array.from({ length: seq }, (_, index) => index + 1),
  );
  device.close();
  other.close();
  t.equal(await edge.stop(), 0);
});
