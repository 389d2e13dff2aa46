/** A process that writes counted changes to an LMDB store until it is killed: `node store-writer.js DIR`; prints each number. */
import { writeSync } from 'node:fs';
import { LmdbStore } from '../../services/shadow/lmdb-store.js';
import { HoldfastError } from '../../shared/errors.js';
import { countedChange, QUEUE } from './shadow-changes.js';

const [path] = process.argv.slice(2) as [string];
const store = new LmdbStore({ path, mapBytes: 2 ** 30, diskFloorBytes: 0 });
try {
  await store.open();
  writeSync(1, 'open\n');
  for (let { offset: n } = await store.position(QUEUE); ;) {
    await store.write(countedChange(++n));
    writeSync(1, `${n}\n`);
  }
} catch (error) {
  if (!(error instanceof HoldfastError)) throw error;
  writeSync(2, `${error.code} ${error.retry}: ${error.message}\n`);
  process.exit(17);
}
