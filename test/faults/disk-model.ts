/**
 * What a power cut can leave of a file, from a trace of the calls with which it was written.
 *
 *   a write      is on its way until an fdatasync that entered after it has returned: until then each of its pages of 4 KiB
 *                may be on disk or not, whatever its neighbours do
 *   O_DSYNC      a write through such a descriptor is on disk when it has returned, alone; it is one sector or a few, and
 *                is there or is not
 *   lseek        moves where writev writes
 *
 * The file is as long as the last byte that is on disk.
 */
import { bytesOf, descriptorOf, type SystemCall } from '../support/strace.js';

const PAGE_BYTES = 4096;

export interface PageWrite {
  readonly offset: number;
  readonly bytes: Buffer;
}

/** One moment at which the power may go. */
export interface Moment {
  /** What is on disk for certain, in order. */
  readonly durable: readonly PageWrite[];
  /** What may be there or not, in the order in which it was written. */
  readonly pending: readonly PageWrite[];
  /** The last seq that the writer had said to be durable. */
  readonly acked: number;
}

export interface ModelOptions {
  /** What the path of the file ends with. */
  readonly file: string;
  /** The seq that a line of the writer's output acks. */
  readonly ackOf: (line: string) => number;
  /** For a test of the model: the disk takes no notice of fdatasync. */
  readonly ignoresSyncs?: boolean;
}

/** Every moment of a trace: one after each call that changes what may be on disk. */
export function* momentsOf(calls: readonly SystemCall[], options: ModelOptions): Generator<Moment> {
  const files = new Map<number, { readonly isDirect: boolean; at: number }>();
  const durable: PageWrite[] = [];
  let pending: PageWrite[] = [];
  let acked = 0;
  for (const call of calls) {
    const descriptor = descriptorOf(call);
    const file = files.get(descriptor);
    if (call.name === 'openat' && bytesOf(call).toString().endsWith(options.file)) {
      files.set(call.result, { isDirect: /O_D?SYNC/.test(call.args), at: 0 });
    } else if (call.name === 'write' && descriptor === 1) {
      for (const line of bytesOf(call).toString().split('\n'))
        if (line !== '') acked = Math.max(acked, options.ackOf(line));
    } else if (file === undefined || (call.result < 0 && call.name !== 'lseek')) {
      continue;
    } else if (call.name === 'lseek') {
      file.at = call.result;
    } else if (call.name === 'close') {
      files.delete(descriptor);
    } else if (call.name === 'fdatasync' || call.name === 'fsync') {
      if (options.ignoresSyncs === true) continue;
      durable.push(...pending);
      pending = [];
      yield { durable: [...durable], pending, acked };
    } else {
      const pages = pagesOf(writtenBy(call, file));
      if (file.isDirect) {
        // It is under way: it may be there or not. After it, it is there.
        yield { durable: [...durable], pending: [...pending, ...pages], acked };
        durable.push(...pages);
      } else {
        pending = [...pending, ...pages];
      }
      yield { durable: [...durable], pending, acked };
    }
  }
}

function writtenBy(call: SystemCall, file: { at: number }): PageWrite {
  const bytes = bytesOf(call);
  if (bytes.length !== call.result) throw new Error(`${call.name} of ${bytes.length} bytes wrote ${call.result}`);
  if (call.name === 'pwrite64') return { offset: Number(/, (\d+)$/.exec(call.args)![1]), bytes };
  if (call.name !== 'writev') throw new Error(`the model does not know ${call.name}`);
  const offset = file.at;
  file.at += bytes.length;
  return { offset, bytes };
}

function pagesOf({ offset, bytes }: PageWrite): PageWrite[] {
  const pages: PageWrite[] = [];
  for (let at = 0; at < bytes.length;) {
    const end = Math.min(bytes.length, at + PAGE_BYTES - ((offset + at) % PAGE_BYTES));
    pages.push({ offset: offset + at, bytes: bytes.subarray(at, end) });
    at = end;
  }
  return pages;
}

/** The file after writes to it. @param base what it was before all of them */
export function imageOf(base: Buffer, writes: readonly PageWrite[]): Buffer {
  const length = writes.reduce((end, { offset, bytes }) => Math.max(end, offset + bytes.length), base.length);
  const image = Buffer.alloc(length);
  base.copy(image);
  for (const { offset, bytes } of writes) bytes.copy(image, offset);
  return image;
}
