/**
 * The firmware on this machine: built with CMake into a directory that goes with the test, and its host program as a device
 * of a pipeline, with everything that its log has said written down over all its lives.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { inheritedEnvironment } from '../../shared/config.js';
import { Session } from '../../shared/database.js';
import { packagePath } from '../../shared/paths.js';
import { deviceToken } from '../../shared/token.js';

/** How a command ended. */
export interface Ended {
  readonly code: number | null;
  readonly output: string;
}

/** Runs a command to its end; a command that is not there has code null. */
export async function run(words: readonly string[]): Promise<Ended> {
  const child = spawn(words[0]!, words.slice(1), { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
  return new Promise((resolve) => {
    child.once('error', (error) => resolve({ code: null, output: error.message }));
    child.once('close', (code) => resolve({ code, output }));
  });
}

/** Why the firmware cannot be built here; undefined: it can. */
export async function missingTools(): Promise<string | undefined> {
  for (const tool of ['cmake', 'ctest', 'make', 'g++']) {
    if ((await run([tool, '--version'])).code !== 0) return `${tool} is not installed`;
  }
  return undefined;
}

/** The firmware's host build. */
export class FirmwareBuild {
  private constructor(readonly directory: string) {}

  /** @throws Error with the compiler's words */
  static async make(): Promise<FirmwareBuild> {
    const directory = await mkdtemp(join(tmpdir(), 'holdfast-firmware-'));
    const steps = [
      ['cmake', '-G', 'Unix Makefiles', '-S', packagePath('firmware'), '-B', directory],
      ['cmake', '--build', directory, '--parallel', '2'],
    ];
    for (const words of steps) {
      const { code, output } = await run(words);
      if (code === 0) continue;
      await rm(directory, { recursive: true, force: true });
      throw new Error(`${words.join(' ')} ended with ${code}:\n${output.slice(-4_000)}`);
    }
    return new FirmwareBuild(directory);
  }

  /** Runs the firmware's own tests. */
  async test(): Promise<Ended> {
    return run(['ctest', '--test-dir', this.directory, '--output-on-failure', '--parallel', '2', '--timeout', '120']);
  }

  get program(): string {
    return join(this.directory, 'holdfast-device');
  }

  async remove(): Promise<void> {
    await rm(this.directory, { recursive: true, force: true });
  }
}

export interface DeviceOptions {
  readonly program: string;
  readonly edgeUrl: string;
  readonly secret: string;
  readonly id: string;
  /** Where its flash is; it outlives each of the device's lives. */
  readonly log: string;
  /** More words of its command line. */
  readonly words?: readonly string[];
}

/** What a line of the program may say; see firmware/host/main.cpp. */
interface Line {
  readonly accepted?: readonly [number, number];
  readonly dropped?: readonly [number, number];
  readonly acked?: number;
  readonly refused?: number;
  readonly full?: number;
  readonly open?: boolean;
  readonly start?: { readonly next: number };
}

/** One device, from life to life. */
export class FirmwareDevice {
  /** What its log has accepted, and not dropped by its rule since. */
  readonly kept = new Set<number>();
  readonly refused = new Set<number>();
  droppedRecords = 0;
  /** Records that the log did not take because it was full. */
  fullRecords = 0;
  lastAccepted = 0;
  acked = 0;
  opens = 0;
  starts = 0;
  errors = '';
  #child: ChildProcess | undefined;
  #read: Promise<unknown> = Promise.resolve();

  constructor(private readonly options: DeviceOptions) {}

  get id(): string {
    return this.options.id;
  }

  /** Begins a life in which it makes so many records. */
  start(records: number, rate = 0): void {
    const { program, edgeUrl, secret, id, log, words = [] } = this.options;
    const own = ['--log', log, '--id', id, '--edge', new URL(edgeUrl).host, '--max-backoff-ms', '300'];
    const work = ['--generate', String(records), '--rate', String(rate)];
    const child = spawn(program, [...own, ...work, ...words], {
      env: { ...inheritedEnvironment(), HOLDFAST_TOKEN: deviceToken(secret, id) },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const lines = createInterface(child.stdout);
    lines.on('line', (text) => this.#take(JSON.parse(text) as Line));
    child.stderr.on('data', (chunk: Buffer) => (this.errors += chunk.toString()));
    this.#read = once(lines, 'close');
    this.#child = child;
  }

  /** Ends this life. @returns how it ended, after everything that it said was read */
  async end(signal: NodeJS.Signals): Promise<number | NodeJS.Signals> {
    this.#child?.kill(signal);
    return this.ended();
  }

  async ended(): Promise<number | NodeJS.Signals> {
    const child = this.#child!;
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    await this.#read;
    return child.exitCode ?? child.signalCode!;
  }

  #take(line: Line): void {
    if (line.accepted !== undefined) {
      const [first, last] = line.accepted;
      for (let seq = first; seq <= last; seq++) this.kept.add(seq);
      this.lastAccepted = Math.max(this.lastAccepted, last);
    }
    if (line.dropped !== undefined) {
      const [first, last] = line.dropped;
      for (let seq = first; seq <= last; seq++) this.kept.delete(seq);
      this.droppedRecords += last - first + 1;
    }
    if (line.refused !== undefined) this.refused.add(line.refused);
    if (line.full !== undefined) this.fullRecords += line.full;
    if (line.acked !== undefined) this.acked = Math.max(this.acked, line.acked);
    if (line.open === true) this.opens++;
    if (line.start !== undefined) this.starts++;
  }
}

/** What is wrong with a device's rows. */
export interface DeviceFindings {
  /** Accepted, not dropped, and not in the table. */
  readonly lost: readonly number[];
  /** In the table more than once, at one time or at several. */
  readonly doubled: readonly number[];
  /** Holds other data than the device makes for this seq. */
  readonly changed: readonly number[];
}

/** Compares what a device's log has accepted with the table. */
export async function checkDevice(databaseUrl: string, device: FirmwareDevice): Promise<DeviceFindings> {
  const session = await Session.open(databaseUrl, 'firmware');
  try {
    const { rows } = await session.client.query<{ seq: string; count: string; wrong: boolean }>(
      `select seq, count(*) as count, bool_or(data is distinct from
         jsonb_build_object('device', device_id, 'n', seq, 'filler', repeat('x', (seq % 90)::int))) as wrong
       from telemetry where device_id = $1 group by seq`,
      [device.id],
    );
    const found = new Set(rows.map(({ seq }) => Number(seq)));
    return {
      lost: [...device.kept].filter((seq) => !found.has(seq)).slice(0, 20),
      doubled: rows.filter(({ count }) => Number(count) > 1).map(({ seq }) => Number(seq)),
      changed: rows.filter(({ wrong }) => wrong).map(({ seq }) => Number(seq)),
    };
  } finally {
    await session.close();
  }
}
