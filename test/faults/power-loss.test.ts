/** A power cut takes what was not synced, in whatever order: what was acked is not among it. */
import { test } from 'tap';
import { straceMissing } from '../support/strace.js';
import { losePower } from './power-loss.js';
import { losePartsOf } from './torn-files.js';

const SEED = 20_261_121;
const skip = straceMissing() ?? false;

void test('whatever a power cut leaves of a queue, all acked batches are there, intact', { skip }, async (t) => {
  const { images, moments, problems } = await losePower({ appends: 60, images: 120, seed: SEED });
  t.same(problems, []);
  t.ok(moments > 100, `${moments} moments, ${images} images`);
});

void test('and a disk that takes no notice of fdatasync is found out', { skip }, async (t) => {
  const { problems } = await losePower({ appends: 60, images: 60, seed: SEED, ignoresSyncs: true });
  t.ok(problems.length > 0, `${problems.length}, as ${problems[0]}`);
});

void test('a file that is torn at a page or has a flipped bit is refused, or what it lacks is counted', async (t) => {
  const { refused, counted, whole, problems } = await losePartsOf({ files: 60, seed: SEED });
  t.same(problems, []);
  t.ok(refused > 5, `${refused} refused, ${counted} with batches set aside, ${whole} with all of it`);
});
