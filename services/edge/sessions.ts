/**
 * The devices that are here, over whatever protocol they came: one session a device, the newest wins.
 *
 * A protocol's endpoint says `opened` once a device was let in and greeted, and `closed` once its connection is gone. From
 * that follow the records `online` and `offline`, the end of an older session, and what shadow hears of the device.
 */
import { Kind } from '../../shared/batch.js';
import type { Part } from '../../shared/lifecycle.js';
import type { Downlink, Receiver } from './downlink.js';
import type { Ingest } from './ingest.js';
import type { EdgeMetrics } from './metrics.js';
import type { DeviceSession } from './session.js';

/** A device's connection, as all protocols' have to be. */
export interface DeviceConnection extends Receiver {
  readonly session: DeviceSession;
  /** What it speaks, as its record `online` says it. */
  readonly protocol: string;
  /** Tells this connection of the device from its others, in the edge's records `online` and `offline`. */
  readonly id: string;
  /** What the device wanted said where its connection breaks off, for its record `offline`; undefined: nothing. */
  readonly will?: unknown;
}

export class Sessions implements Part {
  readonly name = 'sessions';
  readonly #connections = new Map<string, DeviceConnection>();
  #stopping = false;

  constructor(
    private readonly ingest: Ingest,
    private readonly downlink: Downlink,
    private readonly metrics: EdgeMetrics,
  ) {}

  /** How many devices are here. */
  get count(): number {
    return this.#connections.size;
  }

  /** The current session of a device. */
  find(deviceId: string): DeviceConnection | undefined {
    return this.#connections.get(deviceId);
  }

  /** True once nobody may be let in any more. */
  get isStopping(): boolean {
    return this.#stopping;
  }

  /** A device's session has begun. */
  opened(connection: DeviceConnection): void {
    const { session } = connection;
    const older = this.#connections.get(session.deviceId);
    this.#connections.set(session.deviceId, connection);
    this.metrics.connections.inc();
    this.metrics.connectionsByProtocol.inc({ protocol: connection.protocol });
    if (older !== undefined) {
      this.metrics.takeOvers.inc();
      older.session.close({ why: 'taken_over' });
    }
    this.#note(Kind.online, connection, { protocol: connection.protocol, session: connection.id });
    this.downlink.came(session.deviceId, older);
  }

  /** A device's connection is gone, whoever ended it. */
  closed(connection: DeviceConnection): void {
    const { session } = connection;
    session.markClosed();
    // A device that was taken over is still there, in its newer session.
    if (this.#connections.get(session.deviceId) !== connection) return;
    this.#connections.delete(session.deviceId);
    this.#note(Kind.offline, connection, { session: connection.id, will: connection.will });
    this.downlink.went(connection);
  }

  /**
   * Takes nothing more, and sends every device away once what was taken from it is acked. Taking must end first: under
   * load the ingest always has another group to commit.
   */
  async stop(): Promise<void> {
    this.#stopping = true;
    for (const { session } of [...this.#connections.values()]) session.closeWhenAcked({ why: 'restart' });
    await this.ingest.stop();
  }

  /** A record of the edge's own; by `session` a late offline is told from one of the connection that is there now. */
  #note(kind: Kind, { session }: DeviceConnection, payload: Readonly<Record<string, unknown>>): void {
    this.ingest.note(kind, session, Buffer.from(JSON.stringify(payload)));
  }
}
