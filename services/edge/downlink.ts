/**
 * The downlink's end at the edge: an XSUB socket that tells shadow which devices are here, and gives what shadow sends to
 * their sessions. The frames stand in shared/downlink-frames.ts.
 *
 * A device's subscription is its presence, so none may be lost. What is to be said waits as a set of changes by device
 * (announcements.ts); the socket has no high-water mark, at which ZeroMQ would drop a subscription without a word, both
 * where it is sent and where all are sent again after a reconnect. What it may hold is bounded all the same: by the
 * connections that are let in until TCP finds out that the other side is gone. ZeroMQ itself sends all
 * subscriptions again whenever it connects, so a shadow that restarts hears of every device without this file's doing.
 *
 * Nothing here is waited for by the ingest: an edge without shadow takes and acks records as ever, and is ready.
 */
import { setImmediate as turn } from 'node:timers/promises';
import { isUtf8 } from 'node:buffer';
import { XSubscriber } from 'zeromq';
import { decodeDownlink, DownlinkType, type DownlinkMessage } from '../../shared/downlink-frames.js';
import type { Part } from '../../shared/lifecycle.js';
import { LimitedLog } from '../../shared/limited-log.js';
import { RECEIVING_OPTIONS } from '../../shared/links.js';
import type { Logger } from '../../shared/log.js';
import { Announcements } from './announcements.js';
import type { DownlinkMetrics } from './downlink-metrics.js';
import { Questions, type Asker } from './questions.js';

/** A device's current session. */
export interface Receiver extends Asker {
  /** Sends a message; false: it was dropped, and the connection with it. */
  deliver(message: DownlinkMessage): boolean;
}

/** Messages that wait to be taken before the other side has to keep them. */
const RECEIVE_MESSAGES = 4_096;
/** After so many messages the records of devices have their turn. */
const MESSAGES_A_TURN = 64;

export class Downlink implements Part {
  readonly name = 'downlink';
  readonly #socket = new XSubscriber({
    ...RECEIVING_OPTIONS,
    sendHighWaterMark: 0,
    receiveHighWaterMark: RECEIVE_MESSAGES,
  });
  readonly #announcements = new Announcements();
  readonly #questions = new Questions((asker, message) => this.#refuse(asker, message));
  readonly #links: LimitedLog;
  readonly #faults: LimitedLog;
  #connected = false;
  #stopped = false;
  #sending: Promise<void> | undefined;
  #receiving: Promise<void> | undefined;

  /**
   * @param endpoint shadow's downlink
   * @param find the current session of a device
   */
  constructor(
    private readonly endpoint: string,
    private readonly find: (deviceId: string) => Receiver | undefined,
    private readonly metrics: DownlinkMetrics,
    log: Logger,
    private readonly onFailure: (error: unknown) => void,
  ) {
    this.#links = new LimitedLog(log);
    this.#faults = new LimitedLog(log);
  }

  start(): Promise<void> {
    this.#socket.events.on('handshake', () => this.#connection(true));
    this.#socket.events.on('disconnect', () => this.#connection(false));
    this.#socket.connect(this.endpoint);
    this.#receiving = this.#receive().catch((error: unknown) => this.#failed(error));
    return Promise.resolve();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#questions.close();
    this.#socket.close();
    await this.#receiving;
    await this.#sending;
  }

  /** A device has opened a session, its only one, or one that takes over from an older one. */
  came(deviceId: string, older: Asker | undefined): void {
    if (older === undefined) {
      this.#announcements.came(deviceId);
    } else {
      this.#questions.settle(older);
      this.#announcements.cameAgain(deviceId);
    }
    this.#flush();
  }

  /** A device's session has ended, and no newer one has taken over from it. */
  went(asker: Asker): void {
    this.#questions.settle(asker);
    this.#announcements.went(asker.deviceId);
    this.#flush();
  }

  /** A session asks for its device's shadow: it is delivered, or the question refused. */
  ask(asker: Asker): void {
    this.metrics.questions.inc();
    if (!this.#connected) {
      this.#refuse(asker, 'the shadow service cannot be reached; ask again later');
    } else if (this.#questions.ask(asker)) {
      this.#announcements.asks(asker.deviceId);
      this.#flush();
    }
  }

  #refuse(asker: Asker, message: string): void {
    this.metrics.refused.inc();
    asker.refuseQuestion(message);
  }

  #connection(connected: boolean): void {
    if (this.#stopped || connected === this.#connected) return;
    this.#connected = connected;
    this.metrics.connected.set(connected ? 1 : 0);
    const { endpoint } = this;
    if (connected) this.#links.tell('info', { endpoint }, 'connected to shadow');
    else this.#links.tell('warn', { endpoint }, 'no link to shadow; devices get nothing from it meanwhile');
    if (!connected) this.#questions.refuseAll('the shadow service went away; ask again later');
  }

  #flush(): void {
    this.#sending ??= this.#send().catch((error: unknown) => this.#failed(error));
  }

  /** ZeroMQ lets the event loop turn by itself after some hundreds of sends. */
  async #send(): Promise<void> {
    // What one turn of the event loop brings is sent after it, and not in the middle of a device's hello.
    await turn();
    for (let frames = this.#announcements.next(); frames !== undefined; frames = this.#announcements.next()) {
      for (const frame of frames) {
        if (this.#stopped) return;
        await this.#socket.send(frame);
      }
    }
    this.#sending = undefined;
  }

  async #receive(): Promise<void> {
    let count = 0;
    for await (const frames of this.#socket) {
      this.#take(frames);
      if (++count % MESSAGES_A_TURN === 0) await turn();
    }
  }

  #take(frames: readonly Buffer[]): void {
    const [frame, ...more] = frames;
    const message = frame === undefined || more.length > 0 ? undefined : decodeDownlink(frame);
    if (message === undefined || !isPayload(message)) {
      this.#malformed(frames);
      return;
    }
    const receiver = this.find(message.deviceId);
    // What was on its way when the device went.
    if (receiver === undefined) this.metrics.dropped.inc({ reason: 'gone' });
    else this.#deliver(receiver, message);
  }

  #deliver(receiver: Receiver, message: DownlinkMessage): void {
    if (message.type === DownlinkType.shadow && !this.#questions.settle(receiver)) {
      this.metrics.dropped.inc({ reason: 'unasked' });
    } else if (receiver.deliver(message)) {
      this.metrics.delivered(message.type);
    } else {
      this.metrics.dropped.inc({ reason: 'unread' });
    }
  }

  #malformed(frames: readonly Buffer[]): void {
    this.metrics.dropped.inc({ reason: 'malformed' });
    const sizes = frames.slice(0, 4).map(({ length }) => length);
    this.#faults.tell(
      'warn',
      { frames: frames.length, sizes },
      'passed over a message of the downlink that makes no sense',
    );
  }

  #failed(error: unknown): void {
    // A socket that is closed fails what it was asked to do.
    if (!this.#stopped) this.onFailure(error);
  }
}

/** True where a payload is what its type says: it becomes part of a message, which the device takes for one of an edge's. */
function isPayload({ type, payload }: DownlinkMessage): boolean {
  if (!isUtf8(payload)) return false;
  let value: unknown;
  try {
    value = JSON.parse(payload.toString('utf8'));
  } catch {
    // The answer is the return value.
    return false;
  }
  if (value === null) return type === DownlinkType.shadow;
  if (typeof value !== 'object' || Array.isArray(value)) return false;
  return type !== DownlinkType.command || isCommand(value as Readonly<Record<string, unknown>>);
}

function isCommand({ id, name, expires }: Readonly<Record<string, unknown>>): boolean {
  const ends = expires === undefined || (Number.isSafeInteger(expires) && (expires as number) >= 0);
  return typeof id === 'string' && typeof name === 'string' && ends;
}
