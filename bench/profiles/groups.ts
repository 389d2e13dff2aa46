/**
 * Which thread of a process a sample is from, and what it was doing there: groups of functions that a reader can add up. A
 * sample belongs to the first group whose words are in its stack (kernel) or at its leaf (the rest).
 */
import type { Frame, Sample } from './samples.js';

const KERNEL = '[kernel]';

/** By the whole stack, since the kernel's leaves are shared by all that it does. The order decides. */
const KERNEL_GROUPS: readonly (readonly [group: string, words: RegExp])[] = [
  ['kernel: TCP receive', /recvmsg|recvfrom|sock_read_iter/],
  ['kernel: TCP send, loopback included', /sendmsg|sendto|sock_write_iter|tcp_write/],
  ['kernel: fdatasync', /sync_file_range|fdatasync|fsync/],
  ['kernel: write to file', /ext4|pwrite|generic_perform_write|vfs_write|do_writev/],
  ['kernel: epoll', /epoll|ep_poll|ep_send_events/],
  ['kernel: memory', /page_fault|mmap|munmap|madvise|brk/],
  ['kernel: threads and locks', /futex|schedule|task_switch/],
];

const GC = /Scaveng|MarkCompact|Sweep|Evacuat|ConcurrentMarking|MarkingVisitor|Heap::Collect/;
/** A frame's way into JavaScript: an ArrayBuffer made and detached, a callback's scope opened and closed. */
const CROSSING =
  /ArrayBuffer|BackingStore|CallbackScope|MakeCallback|Execution|Invoke|Function::Call|HandleScope|Context::|CallDepth|InternalField|AsyncHooks|AsyncWrap|MicrotasksScope|AdjustAmount|InitializeJSObject|GetHeaderSize|EmbedderData/;

/** What a sample was doing. */
export function groupOf({ frames }: Sample): string {
  const leaf = frames[0]!;
  const isIn = (words: RegExp): boolean => frames.some(({ name }) => words.test(name));
  if (leaf.file === KERNEL) return KERNEL_GROUPS.find(([, words]) => isIn(words))?.[0] ?? 'kernel: other';
  return groupOfUserCode(leaf, isIn);
}

function groupOfUserCode(leaf: Frame, isIn: (words: RegExp) => boolean): string {
  const { name, file } = leaf;
  if (/lmdb|^node\.abi/.test(file) || name.startsWith('mdb_')) return 'LMDB';
  if (name.startsWith('crc32')) return 'CRC-32';
  if (file.startsWith('uws_')) return 'uWebSockets: framing';
  if (isJavaScript(leaf)) return 'JavaScript';
  if (/^Builtins?_/.test(name) || name.includes('::Builtin_'))
    return 'JavaScript: builtins (typed arrays, loads, calls)';
  if (file.startsWith('redis')) return 'Redis';
  if (/memmove|memcpy|memset/.test(name)) return 'copying bytes';
  if (isIn(GC) && !/::New$|::Detach|::Append/.test(name)) return 'garbage collector';
  if (/^libc/.test(file)) return /alloc|free/.test(name) ? 'malloc and free' : 'libc: other';
  if (CROSSING.test(name)) return 'a frame into JavaScript: ArrayBuffer, callback scope';
  return /^uv_|^node::.*Stream|LibuvStream/.test(name) ? 'libuv and streams' : 'native code: other';
}

export function isJavaScript({ file }: Frame): boolean {
  return /^perf-\d+\.map$|^\[JIT\]/.test(file);
}

/** Names each thread of a process by what it does, from all its samples. */
export function threadNames(samples: readonly Sample[]): ReadonlyMap<number, string> {
  const byThread = new Map<number, Sample[]>();
  for (const sample of samples) {
    const some = byThread.get(sample.tid);
    if (some === undefined) byThread.set(sample.tid, [sample]);
    else some.push(sample);
  }
  return new Map([...byThread].map(([tid, some]) => [tid, threadName(tid, some)]));
}

function threadName(tid: number, samples: readonly Sample[]): string {
  const share = (isIt: (frame: Frame) => boolean): number =>
    samples.filter(({ frames }) => frames.some(isIt)).length / samples.length;
  const { pid, command } = samples[0]!;
  if (tid === pid) return 'main thread';
  if (command.startsWith('ZMQ')) return "ZeroMQ's threads";
  if (share(({ file, name }) => /lmdb|^node\.abi/.test(file) || /fdatasync|ext4_/.test(name)) > 0.2)
    return 'commit threads';
  if (share(({ name }) => name.startsWith('Builtins_')) > 0.2) return 'worker thread';
  return "V8's helper threads";
}
