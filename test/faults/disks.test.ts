/** Full, read-only and slow disks: refused before LMDB meets them, told to devices, and recovered from. */
import t from 'tap';
import { straceMissing } from '../support/strace.js';
import { fullEdgeDisk, fullRouterDisk, readOnlyDisk, slowDisk } from './disks.js';
import { mountMissing } from './mount.js';

const MIB = 2 ** 20;
const noTmpfs = mountMissing('tmpfs') ?? false;
const noExt4 = mountMissing('ext4') ?? false;
const noStrace = straceMissing() ?? false;

await t.test('on a full disk the edge sends devices away, stays, and goes on when there is space', async (t) => {
  await t.test('tmpfs', { skip: noTmpfs }, async (t) => t.same((await fullEdgeDisk('tmpfs', MIB)).lines, []));
  await t.test('ext4, not a byte left', { skip: noExt4 }, async (t) =>
    t.same((await fullEdgeDisk('ext4', 0)).lines, []),
  );
});

await t.test('on a full disk the router gives no credit, and all of it arrives', { skip: noTmpfs }, async (t) => {
  t.same((await fullRouterDisk('tmpfs')).lines, []);
});

await t.test(
  'on a disk that turned read-only a service ends with its reason, and comes back',
  { skip: noExt4 },
  async (t) => {
    t.same((await readOnlyDisk('edge')).lines, []);
  },
);

await t.test('on a slow disk acks wait for it', { skip: noStrace }, async (t) => {
  t.same((await slowDisk('edge', 100)).lines, []);
});
