/**
 * A process that appends to a file buffer as fast as it can until it is killed. It says `seq` on stdout once append has
 * returned, and `done n` once everything through n was acked. Arguments: the directory.
 */
import { writeSync } from 'node:fs';
import { FileBuffer } from '../../shared/device/file-buffer.js';

const buffer = new FileBuffer({ directory: process.argv[2]!, maxBytes: 1024 * 1024, sync: false });
for (;;) {
  const next = buffer.lastSeq + 1;
  const seq = buffer.append('telemetry', next * 1000, Buffer.from(JSON.stringify('x'.repeat((next * 37) % 3000))));
  writeSync(1, `${seq}\n`);
  if (seq % 100 === 0) {
    buffer.ack(seq - 50);
    writeSync(1, `done ${seq - 50}\n`);
  }
}
