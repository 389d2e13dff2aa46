/** The clients of the conformance suite that connect: WebSocket in JSON and in binary, and MQTT. */
import { Kind } from '../../shared/batch.js';
import { ask, BINARY_PROTOCOL, binaryRecord, DeviceSocket, JSON_PROTOCOL, UPGRADE_HEADERS } from './device-socket.js';
import type { TestEdge } from './edge.js';
import type { IngestClient, IngestEnd, IngestError, IngestRecord, IngestSession } from './ingest-conformance.js';
import { dialEdge, MQTT_WAYS, type MqttWay } from './mqtt-carrier.js';
import { MqttDevice } from './mqtt-device.js';
import { httpClient, udpClient } from './request-clients.js';

/** The reason of a refused upgrade, by its status. */
const UPGRADE_REASONS: Readonly<Record<number, string>> = { 400: 'bad_id', 401: 'no_credential', 403: 'credential' };
const CLOSE_REASONS: Readonly<Record<number, IngestEnd>> = { 1012: 'restart', 1013: 'no_room', 4409: 'taken_over' };

class WebSocketSession implements IngestSession {
  readonly #sent: number[] = [];

  constructor(
    private readonly device: DeviceSocket,
    private readonly isBinary: boolean,
  ) {}

  send(records: readonly IngestRecord[]): void {
    this.#sent.push(...records.map(({ seq }) => seq));
    this.device.send(this.isBinary ? Buffer.concat(records.map(encode)) : records);
  }

  /** Acks are cumulative: all that was sent up to the one that is acked, but what was in error. */
  get acked(): ReadonlySet<number> {
    const { acked } = this.device;
    const inError = this.errors.map(({ seq }) => seq);
    return new Set(this.#sent.filter((seq) => seq > 0 && seq <= acked && !inError.includes(seq)));
  }

  get errors(): readonly IngestError[] {
    return this.device.errors.map(({ code, seq }) => ({ code, seq }));
  }

  get end(): IngestEnd | undefined {
    const { closing } = this.device;
    return closing === undefined ? undefined : (CLOSE_REASONS[closing.code] ?? 'lost');
  }

  async close(): Promise<void> {
    await this.device.close();
  }
}

function encode({ seq, time, data, report }: IngestRecord): Buffer {
  const isReport = report !== undefined;
  const payload = JSON.stringify(isReport ? report : data);
  return binaryRecord({ seq, kind: isReport ? Kind.report : Kind.telemetry, time: time ?? 0, payload });
}

function webSocketClient(subprotocol: string): IngestClient {
  return {
    protocol: `WebSocket, ${subprotocol}`,
    hasConnections: true,
    saysWhyItEnds: true,
    payloadBytes: 4_000,
    connect: async ({ port }: TestEdge, deviceId, token) => {
      const authorization = token === undefined ? {} : { Authorization: `Bearer ${token}` };
      const path = encodeURIComponent(deviceId);
      const headers = { ...UPGRADE_HEADERS, ...authorization, 'Sec-WebSocket-Protocol': subprotocol };
      const { status } = await ask(port, `/v1/devices/${path}`, headers);
      if (status !== 101) return UPGRADE_REASONS[status] ?? String(status);
      const device = await DeviceSocket.open(port, path, { protocols: [subprotocol], headers: authorization });
      return new WebSocketSession(device, subprotocol === BINARY_PROTOCOL);
    },
  };
}

const CONNACK_REASONS: Readonly<Record<number, string>> = {
  ...{ 0x85: 'bad_id', 0x86: 'no_credential', 0x87: 'credential' },
  ...{ 2: 'bad_id', 4: 'no_credential', 5: 'credential' },
};
const DISCONNECT_REASONS: Readonly<Record<number, IngestEnd>> = {
  0x8b: 'restart',
  0x8e: 'taken_over',
  0x97: 'no_room',
};

class MqttSession implements IngestSession {
  /** The seqs of each publish, by packet id. */
  readonly #sent = new Map<number, readonly number[]>();

  constructor(
    private readonly device: MqttDevice,
    private readonly deviceId: string,
  ) {}

  /** One publish; reports go to a topic of their own. */
  send(records: readonly IngestRecord[]): void {
    const telemetry = records.filter(({ report }) => report === undefined);
    const reports = records.filter(({ report }) => report !== undefined);
    for (const [topic, those] of Object.entries({ telemetry, report: reports })) {
      if (those.length === 0) continue;
      const packetId = this.#sent.size + 1;
      this.#sent.set(
        packetId,
        those.map(({ seq }) => seq),
      );
      this.device.publish(`holdfast/${this.deviceId}/${topic}`, those, packetId);
    }
  }

  get acked(): ReadonlySet<number> {
    const inError = this.errors.map(({ seq }) => seq);
    const seqs = this.device.acked.flatMap((packetId) => this.#sent.get(packetId) ?? []);
    return new Set(seqs.filter((seq) => seq > 0 && !inError.includes(seq)));
  }

  get errors(): readonly IngestError[] {
    const told = this.device.published.filter(({ topic }) => topic === `holdfast/${this.deviceId}/errors`);
    return told.map(({ value }) => ({ code: value['code'] as string, seq: value['seq'] as number | undefined }));
  }

  get end(): IngestEnd | undefined {
    if (!this.device.isClosed) return undefined;
    return DISCONNECT_REASONS[this.device.disconnectReason ?? 0] ?? 'lost';
  }

  async close(): Promise<void> {
    await this.device.close();
  }
}

function mqttClient(version: 4 | 5, way: MqttWay): IngestClient {
  return {
    protocol: `MQTT ${version === 5 ? '5' : '3.1.1'} over ${way}`,
    hasConnections: true,
    // DISCONNECT of the server is new in MQTT 5.
    saysWhyItEnds: version === 5,
    payloadBytes: 4_000,
    connect: async (edge, deviceId, token) => {
      const password = token === undefined ? {} : { username: deviceId, password: Buffer.from(token) };
      const device = await MqttDevice.open(dialEdge(edge, way), deviceId, version, password);
      const { reasonCode, returnCode } = device.connack;
      const code = (version === 5 ? reasonCode : returnCode) ?? -1;
      if (code !== 0) {
        await device.closed();
        return CONNACK_REASONS[code] ?? String(code);
      }
      await device.subscribe(`holdfast/${deviceId}/errors`);
      return new MqttSession(device, deviceId);
    },
  };
}

export const INGEST_CLIENTS: readonly IngestClient[] = [
  webSocketClient(JSON_PROTOCOL),
  webSocketClient(BINARY_PROTOCOL),
  httpClient,
  udpClient,
];

/** Both versions, both ways. */
export const MQTT_INGEST_CLIENTS: readonly IngestClient[] = ([4, 5] as const).flatMap((version) =>
  MQTT_WAYS.map((way) => mqttClient(version, way)),
);
