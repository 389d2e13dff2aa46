/**
 * The clients of the conformance suite that have no connection: HTTP, where a session is a place to note what requests were
 * answered, and UDP, where it is one to note which seqs the acks have named. Both send what is given in order, and no more at a
 * time than their protocol allows.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Kind } from '../../shared/batch.js';
import { binaryRecord } from './device-socket.js';
import type { TestEdge } from './edge.js';
import { HttpDevice } from './http-device.js';
import type { IngestClient, IngestEnd, IngestError, IngestRecord, IngestSession } from './ingest-conformance.js';
import { until } from './processes.js';
import { UdpDevice, udpDatagram } from './udp-device.js';

class HttpSession implements IngestSession {
  readonly acked = new Set<number>();
  readonly errors: IngestError[] = [];
  end: IngestEnd | undefined;
  #sending: Promise<void> = Promise.resolve();

  constructor(private readonly device: HttpDevice) {}

  send(records: readonly IngestRecord[]): void {
    this.#sending = this.#sending.then(() => this.#post(records));
  }

  async close(): Promise<void> {
    await this.#sending;
    this.device.close();
  }

  async #post(records: readonly IngestRecord[]): Promise<void> {
    if (this.end !== undefined) return;
    try {
      const { status, errors } = await this.device.send(records);
      if (status === 429 || status === 503) {
        this.end = 'no_room';
        return;
      }
      for (const { code, seq } of errors) this.errors.push({ code, seq });
      const inError = new Set(errors.map(({ index }) => index));
      for (const [index, { seq }] of records.entries()) if (!inError.has(index)) this.acked.add(seq);
    } catch {
      // Nobody answers, or no longer; the suite closes only what is open.
      this.end = 'lost';
      this.device.close();
    }
  }
}

export const httpClient: IngestClient = {
  protocol: 'HTTP',
  hasConnections: false,
  saysWhyItEnds: true,
  payloadBytes: 4_000,
  connect: async ({ port }: TestEdge, deviceId, token) => {
    const device = new HttpDevice(port, deviceId, token);
    // Nothing is stored of it, and it is let in or not.
    const { errors } = await device.send([]);
    const code = errors[0]?.code;
    if (code === 'bad_id' || code === 'credential' || code === 'no_credential') {
      device.close();
      return code;
    }
    return new HttpSession(device);
  },
};

/** As the protocol numbers them. */
const UDP_CODES = ['bad_json', 'bad_record', 'bad_seq', 'bad_time', 'too_large', 'refused'];
/** Under the 33 that an ack can name. */
const UNDER_WAY = 25;
const RESEND_MS = 100;
const TURN_MS = 5;
const PROBE_SEQ = 2 ** 40;

interface SentRecord {
  readonly record: IngestRecord;
  sentMs: number;
}

class UdpSession implements IngestSession {
  readonly acked = new Set<number>();
  readonly #waiting: IngestRecord[] = [];
  readonly #underWay = new Map<number, SentRecord>();
  readonly #timer = setInterval(() => this.#pump(), TURN_MS);
  readonly #pid: number;
  #closed: Promise<void> | undefined;

  constructor(
    private readonly device: UdpDevice,
    private readonly key: string,
    private readonly edge: TestEdge,
  ) {
    device.onAcked = (seq) => this.#settled(seq);
    this.#pid = edge.process.pid;
  }

  /** A datagram's sender hears of no end; the suite wants to. */
  get end(): IngestEnd | undefined {
    const { process } = this.edge;
    return process.running && process.pid === this.#pid ? undefined : 'lost';
  }

  get errors(): readonly IngestError[] {
    const told = this.device.errors.filter(({ seq }) => seq !== PROBE_SEQ);
    // One that is sent again before it is answered is answered twice.
    const once = new Map(told.map(({ seq, code }) => [seq, UDP_CODES[code]!]));
    return [...once].map(([seq, code]) => ({ code, seq }));
  }

  send(records: readonly IngestRecord[]): void {
    this.#waiting.push(...records);
    this.#pump();
  }

  close(): Promise<void> {
    clearInterval(this.#timer);
    return (this.#closed ??= this.device.close());
  }

  /** One record a datagram: an error is told of a datagram of which nothing was taken. */
  #pump(): void {
    if (this.end !== undefined) {
      // The suite closes only what is open.
      void this.close();
      return;
    }
    for (const { seq } of this.errors) this.#underWay.delete(seq ?? 0);
    const dueMs = performance.now() - RESEND_MS;
    for (const sent of this.#underWay.values()) if (sent.sentMs < dueMs) this.#sendNow(sent);
    while (this.#waiting.length > 0 && this.#underWay.size < UNDER_WAY) {
      const sent = { record: this.#waiting.shift()!, sentMs: 0 };
      this.#underWay.set(sent.record.seq, sent);
      this.#sendNow(sent);
    }
  }

  #sendNow(sent: SentRecord): void {
    const { seq, time, data, report } = sent.record;
    const isReport = report !== undefined;
    const payload = JSON.stringify(isReport ? report : data);
    const kind = isReport ? Kind.report : Kind.telemetry;
    this.device.unacked.set(seq, { seq, time: time ?? 0, data });
    this.device.sendBytes(udpDatagram(this.device.id, binaryRecord({ seq, kind, time: time ?? 0, payload }), this.key));
    sent.sentMs = performance.now();
  }

  #settled(seq: number): void {
    this.#underWay.delete(seq);
    this.acked.add(seq);
  }
}

/** Who is not let in hears nothing: the edge's metrics say why. */
async function refusalOf(edge: TestEdge, probe: UdpDevice, token: string | undefined): Promise<string | undefined> {
  // Without a series nothing was refused for that reason yet.
  const metric = async (reason: string): Promise<number> =>
    (await edge.process.metric(`holdfast_udp_refused_total{reason="${reason}"`)) || 0;
  const before = { hmac: await metric('hmac'), malformed: await metric('malformed') };
  const record = binaryRecord({ seq: PROBE_SEQ, kind: Kind.telemetry, time: 0, payload: '1' });
  probe.sendBytes(udpDatagram(probe.id, record, token ?? ''));
  let refusal: string | undefined;
  await until(async () => {
    if ((await metric('hmac')) > before.hmac) refusal = token === undefined ? 'no_credential' : 'credential';
    if ((await metric('malformed')) > before.malformed) refusal = 'bad_id';
    await sleep(TURN_MS);
    return refusal !== undefined || probe.errors.length > 0;
  });
  return refusal;
}

export const udpClient: IngestClient = {
  protocol: 'UDP',
  hasConnections: false,
  saysWhyItEnds: false,
  payloadBytes: 1_200,
  connect: async (edge: TestEdge, deviceId, token) => {
    const key = token ?? '';
    const device = await UdpDevice.open(edge.udpPort, deviceId, key);
    const refusal = await refusalOf(edge, device, token);
    if (refusal === undefined) return new UdpSession(device, key, edge);
    await device.close();
    return refusal;
  },
};
