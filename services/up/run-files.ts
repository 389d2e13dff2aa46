/**
 * DIR/run/<service>.pid: which process is which service, for people, and for the next `holdfast up` after a kill -9.
 *
 * A pid file alone proves nothing, because pids are used again: a process counts as ours only where its command line says
 * so, and nothing else is ever signalled.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { HoldfastError } from '../../shared/errors.js';
import type { Logger } from '../../shared/log.js';

/** What children of a killed `up` get to stop by themselves, which they do when its end closes their channel. */
const LEFTOVER_STOP_MS = 15_000;
const POLL_MS = 50;
const SUPERVISOR = 'up';

export class RunFiles {
  readonly #directory: string;

  /** @param dataDirectory DIR */
  constructor(dataDirectory: string) {
    this.#directory = join(dataDirectory, 'run');
    mkdirSync(this.#directory, { recursive: true });
  }

  write(service: string, pid: number): void {
    writeFileSync(this.#file(service), `${pid}\n`);
  }

  remove(service: string): void {
    rmSync(this.#file(service), { force: true });
  }

  /**
   * Takes the directory for this process, and sees the children of a killed predecessor out.
   * @throws HoldfastError start_failed where another `holdfast up` is at work on it
   */
  async take(log: Logger): Promise<void> {
    const other = this.#running(SUPERVISOR);
    if (other !== undefined && other !== process.pid) {
      const message = `another holdfast up (pid ${other}) is at work on this directory; stop it, or choose another --data`;
      throw new HoldfastError('start_failed', message, false);
    }
    this.write(SUPERVISOR, process.pid);
    const leftovers = readdirSync(this.#directory)
      .map((name) => name.replace(/\.pid$/, ''))
      .filter((service) => service !== SUPERVISOR && service !== 'postgres');
    await Promise.all(leftovers.map((service) => this.#seeOut(service, log)));
  }

  release(): Promise<void> {
    this.remove(SUPERVISOR);
    return Promise.resolve();
  }

  async #seeOut(service: string, log: Logger): Promise<void> {
    const deadlineMs = Date.now() + LEFTOVER_STOP_MS;
    for (let pid = this.#running(service); pid !== undefined; pid = this.#running(service)) {
      if (Date.now() > deadlineMs) {
        log.warn({ service, pid }, 'a leftover process did not end by itself and is killed');
        process.kill(pid, 'SIGKILL');
      }
      await sleep(POLL_MS);
    }
    this.remove(service);
  }

  /** The pid in the file where it is a live process of that service. */
  #running(service: string): number | undefined {
    if (!existsSync(this.#file(service))) return undefined;
    const pid = Number(readFileSync(this.#file(service), 'utf8'));
    return Number.isSafeInteger(pid) && pid > 0 && isService(pid, service) ? pid : undefined;
  }

  #file(service: string): string {
    return join(this.#directory, `${service}.pid`);
  }
}

/** True where the process lives and its command line or title names the service. */
function isService(pid: number, service: string): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    // ESRCH: nobody has this pid.
    return false;
  }
  const file = `/proc/${pid}/cmdline`;
  // Without /proc nothing can be said of a live process; it is left alone, and a port in use will say so.
  if (!existsSync(file)) return false;
  const words = readFileSync(file, 'latin1').split('\0').join(' ');
  return words.includes(`holdfast-${service}`) || (words.includes('cli.js') && words.includes(` ${service}`));
}
