/** Values that failed their checksum, one file each in `quarantine/` of their queue: for people to look at. */
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { formatPosition, type Position } from '../position.js';
import { syncDirectory } from './store.js';

const DIRECTORY = 'quarantine';

export class Quarantine {
  readonly #directory: string;
  #count: number;

  /** @param queuePath the queue's directory */
  constructor(queuePath: string) {
    this.#directory = join(queuePath, DIRECTORY);
    this.#count = existsSync(this.#directory) ? readdirSync(this.#directory).length : 0;
  }

  /** How many values lie there, also from before this process. */
  get count(): number {
    return this.#count;
  }

  /** Writes a value as it was found, durably. */
  keep(position: Position, value: Buffer): void {
    mkdirSync(this.#directory, { recursive: true });
    const file = `${formatPosition(position).replace(':', '-')}.batch`;
    writeFileSync(join(this.#directory, file), value, { flush: true });
    syncDirectory(this.#directory);
    this.#count++;
  }
}
