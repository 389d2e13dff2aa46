/** An edge of a test's own: a real process on free ports with a queue in a directory that goes with it. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { RecordCursor } from '../../shared/batch.js';
import { START } from '../../shared/position.js';
import { visitQueue } from '../../shared/queue/visit.js';
import { DeviceSocket, type DeviceSocketOptions } from './device-socket.js';
import { freePorts, ServiceProcess } from './processes.js';

/** A record as the queue holds it. */
export interface StoredRecord {
  readonly deviceId: string;
  readonly kind: number;
  readonly seq: number;
  readonly timeMs: number;
  readonly receivedMs: number;
  readonly payload: string;
}

const PEEK_BYTES = 4 * 1024 * 1024;

export class TestEdge {
  private constructor(
    readonly directory: string,
    readonly port: number,
    readonly adminPort: number,
    readonly mqttPort: number,
    /** Where the edge looks for a router; nobody is there unless a test starts one. */
    readonly routerPort: number,
    /** Where it looks for shadow: a TestDownlink, or nobody. */
    readonly downlinkPort: number,
    readonly udpPort: number,
    readonly process: ServiceProcess,
  ) {}

  /**
   * Starts an edge and waits until it is ready.
   * @param keys on top of the addresses and the queue
   * @param launcher words in front of node, as of strace
   */
  static async start(keys: Readonly<Record<string, string>> = {}, launcher: readonly string[] = []): Promise<TestEdge> {
    const directory = await mkdtemp(join(tmpdir(), 'holdfast-edge-'));
    const ports = (await freePorts(6)) as [number, number, number, number, number, number];
    const [port, adminPort, routerPort, downlinkPort, udpPort, mqttPort] = ports;
    const environment = {
      EDGE_LISTEN: `127.0.0.1:${port}`,
      EDGE_UDP_LISTEN: `127.0.0.1:${udpPort}`,
      EDGE_MQTT_LISTEN: `127.0.0.1:${mqttPort}`,
      EDGE_ADMIN_LISTEN: `127.0.0.1:${adminPort}`,
      EDGE_QUEUE: join(directory, 'queue'),
      EDGE_ROUTER: `tcp://127.0.0.1:${routerPort}`,
      EDGE_DOWNLINK: `tcp://127.0.0.1:${downlinkPort}`,
      ...keys,
    };
    const process = new ServiceProcess(['edge'], environment, adminPort, launcher);
    const edge = new TestEdge(directory, port, adminPort, mqttPort, routerPort, downlinkPort, udpPort, process);
    try {
      await process.start();
    } catch (error) {
      await edge.stop();
      throw error;
    }
    return edge;
  }

  get queuePath(): string {
    return join(this.directory, 'queue');
  }

  async connect(deviceId: string, options?: DeviceSocketOptions): Promise<DeviceSocket> {
    return DeviceSocket.open(this.port, deviceId, options);
  }

  /** Every record in the queue, in its order; of one device where an id is given. */
  async stored(deviceId?: string): Promise<StoredRecord[]> {
    const records = await storedIn(this.queuePath);
    return deviceId === undefined ? records : records.filter((record) => record.deviceId === deviceId);
  }

  /** The seqs of a device's own records in the queue, in its order. */
  async storedSeqs(deviceId: string): Promise<number[]> {
    const records = await this.stored(deviceId);
    return records.filter(({ kind }) => kind <= 3).map(({ seq }) => seq);
  }

  /** Ends the edge and removes its directory. @returns the exit code, or the signal that ended it */
  async stop(): Promise<number | NodeJS.Signals> {
    const code = await this.process.end();
    await rm(this.directory, { recursive: true, force: true });
    return code;
  }
}

/** Every record in a queue, in its order, while its writer is at work or after it. */
export async function storedIn(queuePath: string): Promise<StoredRecord[]> {
  const reader = await visitQueue(queuePath);
  const records: StoredRecord[] = [];
  let after = START;
  for (;;) {
    const { batches, damaged, through } = reader.peek(after, PEEK_BYTES);
    if (damaged.length > 0) throw new Error(`the queue holds ${damaged.length} damaged batches`);
    if (batches.length === 0) break;
    for (const batch of batches) records.push(...recordsOf(batch));
    after = through;
  }
  await reader.close();
  return records;
}

function recordsOf(batch: Buffer): StoredRecord[] {
  const cursor = new RecordCursor(batch);
  const records: StoredRecord[] = [];
  while (cursor.next()) {
    const { deviceId, kind, seq, timeMs, receivedMs } = cursor;
    records.push({ deviceId, kind, seq, timeMs, receivedMs, payload: cursor.payload.toString() });
  }
  return records;
}
