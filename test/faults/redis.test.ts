/** Redis that goes and comes under a shadow. The long run has more ways, and its full and read-only disks. */
import { test } from 'tap';
import { cutWrites, meetRedisFault } from './redis.js';

void test('connections of Redis cut before and after writes leave the shadows as the reports have them', async (t) => {
  t.same((await cutWrites(4)).lines, []);
});

void test('a Redis that lets nobody in holds shadow up, and nothing else', async (t) => {
  t.same((await meetRedisFault('maxclients of Redis reached', 0)).lines, []);
});
