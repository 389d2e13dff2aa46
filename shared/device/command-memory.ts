/**
 * The commands that a device has begun, with their results: what makes a command that arrives again be answered again and
 * not done again. The last MAX_COMMANDS are remembered; with a file, across restarts of the process.
 *
 * The file is a log of lines, `<crc32 of the rest, 8 hex digits> <JSON>`, of which the last about an id counts. A command
 * is written down before it is begun and when its result is known. So a process that dies between leaves one that was begun
 * and not ended: whether it was done nobody can know (the device may have been told to reboot), and it is not begun again.
 * A torn last line is passed over, as any other that is damaged: what it said is forgotten. Lines survive the process at
 * once, and a power cut where `sync` is on. The log is written anew, from what is remembered, when it has grown to several
 * times that.
 *
 * Results up to MAX_RESULT_BYTES are remembered whole, of longer ones all but the data.
 */
import {
  closeSync,
  existsSync,
  fdatasyncSync,
  openSync,
  readFileSync,
  renameSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { crc32 } from 'node:zlib';
import { HoldfastError, messageOf } from '../errors.js';
import { syncDirectory } from './segment.js';

export const MAX_COMMANDS = 1_000;
/** Of a result's JSON, in characters. */
export const MAX_RESULT_BYTES = 2 * 1024;
/** Lines of the log, beyond which it is written anew. */
const MAX_LINES = 3 * MAX_COMMANDS;

export interface CommandResult {
  readonly id: string;
  readonly status: 'SUCCEEDED' | 'FAILED' | 'REJECTED';
  readonly data: unknown;
}

export interface RememberedCommand {
  readonly id: string;
  /** Absent: it was begun, and its end is not known. */
  readonly result?: CommandResult;
  /** The seq of the record that holds the result; 0: there is none yet. */
  readonly seq: number;
}

export class CommandMemory {
  /** In the order in which they were last written down. */
  readonly #commands = new Map<string, RememberedCommand>();
  #file: number | undefined;
  #lines = 0;
  #closed = false;

  /**
   * @param path of the file; undefined: what is remembered goes with the process
   * @param sync true: a line is on disk before put returns
   * @param lastSeq the last seq that the buffer has given: a result with a later one was never in it
   */
  constructor(
    private readonly path: string | undefined,
    private readonly sync = false,
    lastSeq = 0,
  ) {
    if (path === undefined) return;
    if (existsSync(path)) this.#read(path, lastSeq);
    this.#rewrite(path);
  }

  get(id: string): RememberedCommand | undefined {
    return this.#commands.get(id);
  }

  /** The command whose result is in the record `seq`. */
  bySeq(seq: number): RememberedCommand | undefined {
    for (const command of this.#commands.values()) if (command.seq === seq) return command;
    return undefined;
  }

  /**
   * Remembers a command as it is now, in place of what was known of it, and forgets the oldest beyond MAX_COMMANDS.
   * @throws HoldfastError disk_low where the file cannot be written; then it is remembered in memory only
   */
  put(command: RememberedCommand): void {
    const { id, result, seq } = command;
    const isLong = result !== undefined && JSON.stringify(result).length > MAX_RESULT_BYTES;
    const kept = isLong ? { id, seq, result: { ...result, data: null } } : command;
    this.#remember(kept);
    if (this.path === undefined || this.#closed) return;
    try {
      if (this.#lines >= MAX_LINES) this.#rewrite(this.path);
      else this.#append(this.path, lineOf(kept));
    } catch (error) {
      const message = `cannot write to ${this.path}: ${messageOf(error)}; make room on the disk`;
      throw new HoldfastError('disk_low', message, true, error);
    }
  }

  /** Forgets, in memory, a command that could not be written down. */
  forget(id: string): void {
    this.#commands.delete(id);
  }

  /** From now on nothing is written any more. */
  close(): void {
    this.#closed = true;
    this.#closeFile();
  }

  #closeFile(): void {
    if (this.#file !== undefined) closeSync(this.#file);
    this.#file = undefined;
  }

  #remember(command: RememberedCommand): void {
    this.#commands.delete(command.id);
    this.#commands.set(command.id, command);
    for (const oldest of this.#commands.keys()) {
      if (this.#commands.size <= MAX_COMMANDS) break;
      this.#commands.delete(oldest);
    }
  }

  #read(path: string, lastSeq: number): void {
    for (const line of readFileSync(path, 'utf8').split('\n')) {
      const command = readLine(line);
      if (command !== undefined) this.#remember(command.seq > lastSeq ? { ...command, seq: 0 } : command);
    }
  }

  #append(path: string, line: string): void {
    this.#file ??= openSync(path, 'a', 0o600);
    // In front of the line, so that a torn one before it costs nothing but itself.
    writeSync(this.#file, `\n${line}`);
    if (this.sync) fdatasyncSync(this.#file);
    this.#lines++;
  }

  #rewrite(path: string): void {
    const lines = [...this.#commands.values()].map(lineOf);
    const next = `${path}.new`;
    writeFileSync(next, lines.join('\n'), { mode: 0o600, flush: this.sync });
    renameSync(next, path);
    if (this.sync) syncDirectory(dirname(path));
    this.#closeFile();
    this.#lines = lines.length;
  }
}

function lineOf(command: RememberedCommand): string {
  const json = JSON.stringify(command);
  return `${checksum(json)} ${json}`;
}

function readLine(line: string): RememberedCommand | undefined {
  const json = line.slice(9);
  return line !== '' && line.startsWith(`${checksum(json)} `) ? (JSON.parse(json) as RememberedCommand) : undefined;
}

function checksum(text: string): string {
  return crc32(text).toString(16).padStart(8, '0');
}
