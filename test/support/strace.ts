/**
 * System calls of a real process, as strace(1) saw them.
 *
 * A call is two events, its entry and its return, each with its place in the trace: strace writes a call on one line where
 * nothing came between the two, and otherwise as `<unfinished ...>` and `<... resumed>`.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

export interface SystemCall {
  readonly name: string;
  /** Its arguments as strace writes them, strings in hex. */
  readonly args: string;
  /** What it returned; -1: it failed. */
  readonly result: number;
  /** Places in the trace: what is smaller was before. */
  readonly entered: number;
  readonly returned: number;
}

const CALLS =
  'openat,accept,accept4,close,fdatasync,fsync,msync,pwrite64,pwritev,writev,write,send,sendto,sendmsg,sendmmsg,recv,recvfrom,recvmsg,recvmmsg,read';
/** Long enough for whatever a test sends; a string that is longer fails the test. */
const STRING_BYTES = 2 ** 20;

/** Why no trace can be made here, or undefined. */
export function straceMissing(): string | undefined {
  const { error, status, stderr } = spawnSync('strace', ['-o', '/dev/null', 'true'], { encoding: 'utf8' });
  if (error !== undefined) return 'strace is not installed (apt-get install strace)';
  return status === 0 ? undefined : `strace may not trace here: ${stderr.trim()}`;
}

/**
 * The words in front of a command that trace it into a file.
 * -D: the command keeps its own pid, gets its own signals and gives its own exit code.
 * @param calls which system calls, with commas between
 */
export function straceLauncher(file: string, calls: string = CALLS): readonly string[] {
  return ['strace', '-D', '-f', '-xx', '-s', String(STRING_BYTES), '-e', `trace=${calls}`, '-o', file];
}

/** True once strace has written the end of process `pid`. */
export function isTraceWhole(file: string, pid: number): boolean {
  return new RegExp(`^${pid} +\\+\\+\\+ (exited|killed)`, 'm').test(readFileSync(file, 'utf8'));
}

/** The calls of a trace, in the order of their entries. @throws Error where a line is not understood */
export function readTrace(file: string): SystemCall[] {
  const calls: SystemCall[] = [];
  const unfinished = new Map<string, { readonly text: string; readonly entered: number }>();
  for (const [index, line] of readFileSync(file, 'utf8').split('\n').entries()) {
    const [, thread, text] = /^(\d+) +(.*)$/.exec(line) ?? [];
    if (thread === undefined || text === undefined || /^(\+\+\+|---)/.test(text)) continue;
    const begun = / <unfinished \.\.\.>$/.exec(text);
    if (begun !== null) {
      unfinished.set(thread, { text: text.slice(0, begun.index), entered: index });
      continue;
    }
    const resumed = /^<\.\.\. \w+ resumed>/.exec(text);
    const start = resumed === null ? { text: '', entered: index } : unfinished.get(thread);
    if (start === undefined) throw new Error(`line ${index + 1} resumes a call that has not begun`);
    unfinished.delete(thread);
    calls.push(readCall(start.text + text.slice(resumed?.[0].length ?? 0), start.entered, index));
  }
  return calls.sort((a, b) => a.entered - b.entered);
}

function readCall(text: string, entered: number, returned: number): SystemCall {
  const [, name, args, result] = /^(\w+)\((.*)\) += (-?\d+|\?)/.exec(text) ?? [];
  if (name === undefined || args === undefined)
    throw new Error(`line ${returned + 1} is no call: ${text.slice(0, 200)}`);
  return { name, args, result: Number(result), entered, returned };
}

/** The file descriptor that a call is about: its first argument. */
export function descriptorOf({ args }: SystemCall): number {
  return Number.parseInt(args, 10);
}

/** The bytes of every string among a call's arguments, one behind the other. @throws Error where strace cut one off */
export function bytesOf({ args }: SystemCall): Buffer {
  const parts: Buffer[] = [];
  for (const [, hex, cut] of args.matchAll(/"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?/g)) {
    if (cut !== undefined) throw new Error(`a string of ${STRING_BYTES} bytes was cut off`);
    parts.push(Buffer.from(hex!.replaceAll('\\x', ''), 'hex'));
  }
  return Buffer.concat(parts);
}

/**
 * The bytes that a call has moved: one message for each part of recvmsg, recvmmsg, sendmsg and sendmmsg, without the
 * addresses that stand beside them; of any other call all of its strings as one.
 */
export function messagesOf(call: SystemCall): readonly Buffer[] {
  if (!/^(recv|send)m+sg$/.test(call.name)) return [bytesOf(call)];
  const parts = call.args.matchAll(/iov_base=("(?:\\x[0-9a-f]{2})*"(?:\.\.\.)?)/g);
  return [...parts].map(([, args]) => bytesOf({ ...call, args: args! }));
}
