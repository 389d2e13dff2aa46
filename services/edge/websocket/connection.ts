/** A device's WebSocket connection: its socket, its protocol, and the session that the ingest and the downlink see. */
import { randomUUID } from 'node:crypto';
import type { DownlinkMessage } from '../../../shared/downlink-frames.js';
import { protectLongMessages, type WebSocket } from '../../../shared/uws.js';
import type { Protocol } from './upgrade.js';
import type { EdgeMetrics } from '../metrics.js';
import { binaryReplies, jsonReplies, type ReplyEncoder } from './replies.js';
import { DeviceSession, type Ending, type RecordErrorCode } from '../session.js';
import type { DeviceConnection } from '../sessions.js';

/** The community build of uWebSockets.js copies the object's own fields, so it must be a plain one. */
export interface UserData {
  readonly connection: Connection;
}

export type Socket = WebSocket<UserData>;

/** What uWS's send returns where too much is unread already and the reply is not sent. */
const DROPPED = 2;
/** From this on uWS takes a shortcut that an old build of it does not master. */
const LONG_MESSAGE_BYTES = 16 * 1024;

/** The code and the reason of the close frame. */
function closeFrame(ending: Ending): readonly [code: number, reason: string] {
  switch (ending.why) {
    case 'no_room':
      return [1013, `retry-after:${ending.retryAfterMs}`];
    case 'taken_over':
      return [4409, 'the device has opened another session'];
    case 'restart':
      return [1012, 'the edge restarts'];
    case 'malformed':
      return [1007, 'malformed frame'];
  }
}

/** uWS hands it back with every event. */
export class Connection implements DeviceConnection {
  socket: Socket | undefined;
  readonly session: DeviceSession;
  readonly isBinary: boolean;
  readonly id = randomUUID();
  readonly #encoder: ReplyEncoder;
  #isProtected = false;

  constructor(
    readonly deviceId: string,
    readonly protocol: Protocol,
    private readonly metrics: EdgeMetrics,
  ) {
    this.isBinary = protocol === 'binary';
    this.#encoder = this.isBinary ? binaryReplies : jsonReplies;
    this.session = new DeviceSession(deviceId, this);
  }

  hello(windowBytes: number): void {
    this.#send(this.#encoder.hello(this.deviceId, windowBytes));
  }

  ack(seq: number): void {
    this.#send(this.#encoder.ack(seq));
  }

  error(code: RecordErrorCode, message: string, seq: number | undefined): void {
    this.metrics.rejected.inc({ reason: code });
    this.#send(this.#encoder.error(code, message, seq));
  }

  refuseQuestion(message: string): void {
    this.#send(this.#encoder.refusal(message));
  }

  deliver(message: DownlinkMessage): boolean {
    const reply = this.#encoder.downlink(message);
    // Not as the socket opens: few devices ever get a long message, and what protects one takes memory for each.
    if (reply.length >= LONG_MESSAGE_BYTES / 2 && !this.#isProtected && this.socket !== undefined) {
      protectLongMessages(this.socket);
      this.#isProtected = true;
    }
    return this.#send(reply);
  }

  close(ending: Ending): void {
    const [code, reason] = closeFrame(ending);
    this.socket?.end(code, reason);
  }

  /**
   * A reply that is dropped ends the connection there and then: an error that the device never saw, and a later ack that
   * it does see, would say that the record in error is stored; and a device whose delta or command was dropped gets it
   * again on its next connection. (closeOnBackpressureLimit does not do: it only stops reading, and what the kernel holds
   * is still read and answered.)
   * @returns false where there is no connection, or none any more
   */
  #send(message: string | Buffer): boolean {
    const { socket } = this;
    if (socket === undefined) return false;
    if (socket.send(message, this.#encoder.isBinary) !== DROPPED) return true;
    socket.close();
    return false;
  }
}
