/** Small file systems of a test's own: a tmpfs, or an ext4 in a file. Only root may mount; others skip. */
import { spawnSync } from 'node:child_process';
import { closeSync, copyFileSync, mkdirSync, mkdtempSync, openSync, rmSync, statfsSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export type MountKind = 'tmpfs' | 'ext4';

/** Why nothing can be mounted here, or undefined. */
export function mountMissing(kind: MountKind): string | undefined {
  if (process.getuid?.() !== 0) return 'only root may mount';
  try {
    Mount.make(kind, 16 * 2 ** 20).remove();
    return undefined;
  } catch (error) {
    return `no ${kind} can be mounted here: ${String(error)}`;
  }
}

const BLOCK_BYTES = 4096;

export class Mount {
  private constructor(
    private readonly directory: string,
    private readonly kind: MountKind,
  ) {}

  /** @throws Error where it may not */
  static make(kind: MountKind, bytes: number): Mount {
    const directory = mkdtempSync(join(tmpdir(), 'holdfast-mount-'));
    const mount = new Mount(directory, kind);
    mkdirSync(mount.path);
    try {
      if (kind === 'tmpfs') {
        run('mount', '-t', 'tmpfs', '-o', `size=${bytes}`, 'none', mount.path);
      } else {
        run('truncate', '-s', `${bytes}`, mount.#image);
        run('mkfs.ext4', '-q', '-m', '0', mount.#image);
        run('mount', '-o', 'loop', mount.#image, mount.path);
      }
      return mount;
    } catch (error) {
      rmSync(directory, { recursive: true, force: true });
      throw error;
    }
  }

  get path(): string {
    return join(this.directory, 'mounted');
  }

  get freeBytes(): number {
    const { bavail, bsize } = statfsSync(this.path);
    return bavail * bsize;
  }

  /** Somebody else's file takes all but `leaveBytes`; with 0 it goes on until the file system has no more to give. */
  fill(leaveBytes: number): void {
    const descriptor = openSync(this.#filler, 'a');
    try {
      const block = Buffer.alloc(BLOCK_BYTES);
      while (leaveBytes === 0 || this.freeBytes > leaveBytes) writeSync(descriptor, block);
    } catch (error) {
      if (leaveBytes > 0 || !String(error).includes('ENOSPC')) throw error;
    } finally {
      closeSync(descriptor);
    }
  }

  /** That file is deleted. */
  empty(): void {
    rmSync(this.#filler, { force: true });
  }

  /** An ext4 turns read-only beneath its users, as after an error of its disk. */
  abort(): void {
    run('mount', '-o', 'remount,abort', this.path);
  }

  /**
   * An ext4 that was aborted is checked and mounted again; nobody may have files open there. As a copy: whoever has made a mount
   * namespace meanwhile still has the old one mounted, and mounting its image again would be that one, still read-only.
   */
  repair(): void {
    run('umount', this.path);
    copyFileSync(this.#image, this.#repaired);
    // 1: errors were corrected.
    const { status, stderr } = spawnSync('e2fsck', ['-f', '-y', this.#repaired], { encoding: 'utf8' });
    if (status === null || status > 1) throw new Error(`e2fsck ended with ${status}: ${stderr}`);
    run('mount', '-o', 'loop', this.#repaired, this.path);
  }

  /** Unmounts it; what was there is gone. */
  remove(): void {
    run('umount', this.path);
    rmSync(this.directory, { recursive: true, force: true });
  }

  get #image(): string {
    return join(this.directory, `image.${this.kind}`);
  }

  get #repaired(): string {
    return `${this.#image}.repaired`;
  }

  get #filler(): string {
    return join(this.path, 'filler');
  }
}

function run(command: string, ...words: string[]): void {
  const { error, status, stderr } = spawnSync(command, words, { encoding: 'utf8' });
  if (error !== undefined || status !== 0) throw error ?? new Error(`${command} ended with ${status}: ${stderr}`);
}
