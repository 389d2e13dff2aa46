/** The downlink without a socket, for tests of what is sent: what each connection was given, in order. */
import { DownlinkType } from '../../shared/downlink-frames.js';
import { Connection } from '../../services/shadow/connection.js';
import type { Downlink, DownlinkListener } from '../../services/shadow/downlink.js';

export interface Given {
  /** Beside messages: that its delta was found empty, and that it asked for its shadow. */
  readonly type: DownlinkType | 'vanished' | 'asked';
  readonly version: number;
  readonly payload: string;
}

/** A connection of a device, and what it was given. */
export interface Told {
  readonly deviceId: string;
  readonly connection: Connection;
  readonly given: Given[];
}

export class ModelDownlink implements Pick<Downlink, 'find' | 'send' | 'listen'> {
  /** All connections there ever were. */
  readonly told: Told[] = [];
  /** Devices whose edge has no room. */
  readonly blocked = new Set<string>();
  /** Devices whose next message is refused. */
  readonly squeezed = new Set<string>();
  refused = 0;
  readonly #current = new Map<string, Told>();
  #listener: DownlinkListener | undefined;

  listen(listener: DownlinkListener): void {
    this.#listener = listener;
  }

  find(deviceId: string): Connection | undefined {
    return this.#current.get(deviceId)?.connection;
  }

  current(deviceId: string): Told | undefined {
    return this.#current.get(deviceId);
  }

  async send(deviceId: string, type: DownlinkType, version: number, payload: string): Promise<boolean> {
    const isBlocked = this.squeezed.delete(deviceId) || this.blocked.has(deviceId);
    if (isBlocked) this.refused++;
    else this.#current.get(deviceId)?.given.push({ type, version, payload });
    await Promise.resolve();
    return !isBlocked;
  }

  arrive(deviceId: string): Told {
    const connection = new Connection(deviceId, 1);
    const told = { deviceId, connection, given: [] };
    this.told.push(told);
    this.#current.set(deviceId, told);
    this.#listener?.onArrival?.(connection);
    return told;
  }

  leave(deviceId: string): void {
    this.#current.delete(deviceId);
  }

  ask(deviceId: string): void {
    const connection = this.find(deviceId);
    if (connection === undefined) return;
    connection.asked = true;
    this.#note(deviceId, 'asked');
    this.#listener?.onQuestion?.(connection);
  }

  /** To be called when a device's delta is found empty. */
  vanished(deviceId: string): void {
    this.#note(deviceId, 'vanished');
  }

  #note(deviceId: string, type: 'vanished' | 'asked'): void {
    this.#current.get(deviceId)?.given.push({ type, version: 0, payload: '' });
  }
}

/** The deltas among what was given. */
export function deltasOf(given: readonly Given[]): string[] {
  return given.filter(({ type }) => type === DownlinkType.delta).map(({ payload }) => payload);
}

/** The ids of the commands among what was given. */
export function commandsOf(given: readonly Given[]): string[] {
  const commands = given.filter(({ type }) => type === DownlinkType.command);
  return commands.map(({ payload }) => (JSON.parse(payload) as { id: string }).id);
}
