/** What `holdfast up` does for a service of a test: it is started again whenever it has ended by itself. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ServiceProcess } from './processes.js';

const LOOK_MS = 20;

export class Supervision {
  readonly #loop: Promise<void>;
  #over = false;

  constructor(private readonly service: ServiceProcess) {
    this.#loop = this.#run();
  }

  /** Leaves the service as it is from now on. */
  async end(): Promise<void> {
    this.#over = true;
    await this.#loop;
  }

  async #run(): Promise<void> {
    while (!this.#over) {
      if (!this.service.running) this.service.spawn();
      await sleep(LOOK_MS);
    }
  }
}
