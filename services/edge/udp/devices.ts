/**
 * The devices whose datagrams are remembered: so many, and the one that has been silent for longest makes room for another.
 * Only who has shown a token gets in. To be forgotten harms nobody: the next datagram starts with what it holds.
 */
import type { UdpDevice } from './device.js';

/** Devices looked at for one that can go; those that wait for a commit are the newest as a rule. */
const MAX_TRIES = 16;

export class UdpDevices {
  /** From the one that has been silent for longest. */
  readonly #devices = new Map<string, UdpDevice>();

  constructor(private readonly limit: number) {}

  get(id: string): UdpDevice | undefined {
    return this.#devices.get(id);
  }

  /** Makes it the newest. @returns false where there is no room: too many wait for a commit */
  keep(device: UdpDevice): boolean {
    if (!this.#devices.delete(device.id) && this.#devices.size >= this.limit && !this.#forgetOne()) return false;
    this.#devices.set(device.id, device);
    return true;
  }

  /** True while records of any of them wait for a commit. */
  get isWaiting(): boolean {
    for (const device of this.#devices.values()) if (device.isWaiting) return true;
    return false;
  }

  #forgetOne(): boolean {
    let tries = 0;
    for (const { id, isWaiting } of this.#devices.values()) {
      if (!isWaiting) return this.#devices.delete(id);
      if (++tries === MAX_TRIES) break;
    }
    return false;
  }
}
