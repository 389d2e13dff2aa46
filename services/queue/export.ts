/**
 * `holdfast queue export DIR`: everything that lies in a queue, as lines (lines.ts) or as a file of batches:
 *
 *   0 8 bytes "HFBATCH1"   8 16 bytes id of the queue, a UUID
 *   then for each batch, oldest first: u32 size, little-endian | the batch as it lies in the queue (shared/batch.ts)
 *
 * The end of the file is its end: each batch has its size before it and its checksum in it. A file is made anew, never written
 * over, and synced to disk before the export says that it is done. Batches that fail their checksum are named and left out.
 */
import { once } from 'node:events';
import { createWriteStream, type WriteStream } from 'node:fs';
import type { Writable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { HoldfastError, messageOf } from '../../shared/errors.js';
import { recordCount } from '../../shared/batch.js';
import { encodeQueueId } from '../../shared/links.js';
import { formatPosition, START, type Position } from '../../shared/position.js';
import { visitQueue } from '../../shared/queue/visit.js';
import { linesOf } from './lines.js';
import type { Format } from './options.js';
import type { Progress } from './progress.js';
import { writeTo } from './terminal.js';
import { bytesIn } from './verify.js';
import { allBatches } from './walk.js';

export interface ExportOptions {
  readonly path: string;
  readonly format: Format;
  /** Only what comes after this position. */
  readonly after?: Position;
  readonly device: string | undefined;
  /** A file to make; undefined: `output`. */
  readonly file: string | undefined;
  readonly output: Writable;
  readonly makeProgress: (totalBytes: number) => Progress;
}

export interface Export {
  readonly path: string;
  readonly queueId: string;
  readonly format: Format;
  readonly file: string | undefined;
  readonly batches: number;
  /** Of ndjson: lines; of batches: records in them. */
  readonly records: number;
  readonly bytes: number;
  readonly damaged: readonly string[];
}

const MAGIC = Buffer.from('HFBATCH1', 'latin1');

/** @throws HoldfastError queue_unreadable; store where the file cannot be written, or is there already */
export async function exportQueue(options: ExportOptions): Promise<Export> {
  const { path, format, file, after = START } = options;
  const reader = await visitQueue(path);
  const progress = options.makeProgress(bytesIn(reader, after));
  const queueId = reader.id ?? '';
  const counts = { batches: 0, records: 0, bytes: 0 };
  const damaged: string[] = [];
  const put = await openOutput(options);
  try {
    if (format === 'batches') await put.write(Buffer.concat([MAGIC, encodeQueueId(queueId)]));
    for (const peek of allBatches(reader, after)) {
      damaged.push(...peek.damaged.map(formatPosition));
      for (const batch of peek.batches) {
        const { bytes, records } = format === 'ndjson' ? lines(batch, options.device) : framed(batch);
        await put.write(bytes);
        counts.batches++;
        counts.records += records;
        counts.bytes += bytes.length;
        progress.advance(batch.length);
      }
    }
    await put.end();
  } finally {
    progress.finish();
    await reader.close();
  }
  return { path, queueId, format, file, ...counts, damaged };
}

/** An export as lines for people. */
export function describeExport(result: Export): string {
  const { records, batches, bytes, damaged } = result;
  const where = result.file ?? 'stdout';
  const lines = [`exported ${records} records of ${batches} batches, ${bytes} bytes, to ${where}`];
  for (const position of damaged) lines.push(`left out: ${position}, its checksum does not match its bytes`);
  return `${lines.join('\n')}\n`;
}

function lines(batch: Buffer, device: string | undefined): { readonly bytes: Buffer; readonly records: number } {
  const all = [...linesOf(batch, device)];
  return { bytes: Buffer.from(all.join('')), records: all.length };
}

function framed(batch: Buffer): { readonly bytes: Buffer; readonly records: number } {
  const size = Buffer.allocUnsafe(4);
  size.writeUInt32LE(batch.length);
  return { bytes: Buffer.concat([size, batch]), records: recordCount(batch) };
}

interface Output {
  write(bytes: Buffer): Promise<void>;
  end(): Promise<void>;
}

async function openOutput({ file, output }: ExportOptions): Promise<Output> {
  if (file === undefined) return { write: (bytes) => writeTo(output, bytes), end: () => Promise.resolve() };
  const stream: WriteStream = createWriteStream(file, { flags: 'wx', flush: true });
  try {
    await once(stream, 'ready');
  } catch (error) {
    throw new HoldfastError('store', `cannot make ${file}: ${messageOf(error)}`, false, error);
  }
  // Whoever writes next, or ends, hears of it.
  stream.on('error', () => undefined);
  return {
    write: (bytes) => writeTo(stream, bytes),
    end: async () => {
      stream.end();
      await finished(stream);
    },
  };
}
