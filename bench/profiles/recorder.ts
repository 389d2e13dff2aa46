/**
 * Samples where processes spend their CPU, with Linux' perf: a thread is looked at after so much CPU time that it used, wherever it
 * is, in the kernel too. Node names its compiled functions in /tmp/perf-<pid>.map, where perf looks for them.
 */
import { execFile } from 'node:child_process';
import { rmSync } from 'node:fs';
import { promisify } from 'node:util';
import { readSamples, type Sample } from './samples.js';

/** No divisor of what a program may do at round intervals. */
const SAMPLES_PER_SECOND = 997;
const SCRIPT_BYTES = 2 ** 30;

/** Options of Node for a process that is sampled. */
export const NAMED_FRAMES: readonly string[] = ['--perf-basic-prof', '--interpreted-frames-native-stack'];

const run = promisify(execFile);

/** Samples processes for some seconds. @throws Error where there is no perf, or it may not look */
export async function record(pids: readonly number[], seconds: number, file: string): Promise<void> {
  const what = ['record', '-q', '-g', '-e', 'cpu-clock', '-F', String(SAMPLES_PER_SECOND), '-p', pids.join(',')];
  await run('perf', [...what, '-o', file, '--', 'sleep', String(seconds)]);
}

/** The samples of a recording; the processes' own files with names go with it. */
export async function readRecording(pids: readonly number[], file: string): Promise<readonly Sample[]> {
  const words = ['script', '-i', file, '-F', 'comm,pid,tid,ip,sym,dso'];
  const { stdout } = await run('perf', words, { maxBuffer: SCRIPT_BYTES });
  for (const pid of pids) rmSync(`/tmp/perf-${pid}.map`, { force: true });
  return [...readSamples(stdout)];
}
