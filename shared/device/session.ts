/**
 * One connection of a device to an edge, from the upgrade to the close: credential and subprotocol, liveness by pings, and
 * what the end of it says about when to come back.
 */
import type { ClientRequest, IncomingMessage } from 'node:http';
import { WebSocket, type RawData } from 'ws';
import { decodeDownFrame, decodeDownText, type DownMessage } from '../device-frames.js';
import { messageOf } from '../errors.js';

export type DeviceProtocol = 'json' | 'binary';

/** Why a session ended. */
export interface SessionEnd {
  /** The WebSocket close code; 1006 where there was none. */
  readonly code: number;
  readonly reason: string;
  /** True where the same request would be refused again: the id, the credential or the address is wrong. */
  readonly isRefused: boolean;
  /** How long the edge asked to stay away, ms. */
  readonly retryAfterMs: number | undefined;
  /** True where the edge had said hello. */
  readonly greeted: boolean;
}

export interface SessionOptions {
  readonly url: string;
  readonly token: string | undefined;
  readonly protocol: DeviceProtocol;
}

const CONNECT_TIMEOUT_MS = 10_000;
/** A connection on which nothing came for so long is pinged, and after as long again taken for dead. */
const PING_INTERVAL_MS = 15_000;
const CLOSE_TIMEOUT_MS = 1_000;
const MAX_MESSAGE_BYTES = 1024 * 1024;
/** No edge may send a device away for longer. */
const MAX_RETRY_AFTER_MS = 3_600_000;

export class Session {
  readonly #socket: WebSocket;
  readonly #options: SessionOptions;
  readonly #onMessage: (message: DownMessage) => void;
  readonly #timer: NodeJS.Timeout;
  #greeted = false;
  #heard = true;
  #isCut = false;
  #reason = '';
  #status: number | undefined;
  #retryAfterMs: number | undefined;

  /**
   * Connects. `onMessage` gets every message of the edge; `onEnd` is called once, whatever happens, and is the last call.
   */
  constructor(options: SessionOptions, onMessage: (message: DownMessage) => void, onEnd: (end: SessionEnd) => void) {
    this.#options = options;
    this.#onMessage = onMessage;
    const headers = options.token === undefined ? {} : { authorization: `Bearer ${options.token}` };
    this.#socket = new WebSocket(options.url, `holdfast.v1.${options.protocol}`, {
      headers,
      handshakeTimeout: CONNECT_TIMEOUT_MS,
      maxPayload: MAX_MESSAGE_BYTES,
      perMessageDeflate: false,
    });
    this.#timer = setInterval(() => this.#checkAlive(), PING_INTERVAL_MS);
    this.#socket.on('message', (data, isBinary) => this.#receive(data, isBinary));
    this.#socket.on('pong', () => (this.#heard = true));
    this.#socket.on('unexpected-response', (request, response) => this.#refused(request, response));
    // ws follows every error with a close, and what went wrong is told there.
    this.#socket.on('error', (error) => (this.#reason ||= messageOf(error)));
    this.#socket.on('close', (code, reason) => {
      clearInterval(this.#timer);
      onEnd(this.#end(code, reason.toString('utf8')));
    });
  }

  /** Sends one message; on a socket that is closing nothing happens. */
  send(message: Buffer): void {
    this.#socket.send(message, { binary: this.#options.protocol === 'binary' }, ignoreSendError);
  }

  /** Ends the connection at once; nothing that still arrives is passed on. */
  cut(): void {
    this.#isCut = true;
    this.#reason = 'cut by the device';
    this.#socket.terminate();
  }

  /** Asks for the end; without an answer it is cut off after a second. */
  close(): void {
    if (this.#socket.readyState === WebSocket.CONNECTING) {
      this.#socket.terminate();
      return;
    }
    this.#socket.close(1000);
    const cut = setTimeout(() => this.#socket.terminate(), CLOSE_TIMEOUT_MS);
    this.#socket.once('close', () => clearTimeout(cut));
  }

  #receive(data: RawData, isBinary: boolean): void {
    if (this.#isCut) return;
    this.#heard = true;
    const bytes = Buffer.isBuffer(data) ? data : Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data);
    let message: DownMessage;
    try {
      message = isBinary ? decodeDownFrame(bytes) : decodeDownText(bytes);
    } catch (error) {
      this.#reason = messageOf(error);
      this.#socket.close(1002, 'bad message');
      return;
    }
    if (message.type === 'hello') this.#greeted = true;
    this.#onMessage(message);
  }

  #checkAlive(): void {
    if (!this.#heard || !this.#greeted) {
      this.#reason = `the edge was silent for ${PING_INTERVAL_MS} ms`;
      this.#socket.terminate();
      return;
    }
    this.#heard = false;
    this.#socket.ping();
  }

  #refused(request: ClientRequest, response: IncomingMessage): void {
    this.#status = response.statusCode;
    this.#reason = `the edge answered ${response.statusCode ?? 0} ${response.statusMessage ?? ''}`;
    const seconds = response.headers['retry-after'];
    if (seconds !== undefined && /^\d{1,9}$/.test(seconds)) this.#retryAfterMs = Number(seconds) * 1000;
    request.destroy();
    this.#socket.terminate();
  }

  #end(code: number, closeReason: string): SessionEnd {
    const asked = /^retry-after:(\d{1,12})$/.exec(closeReason);
    const retryAfterMs = asked === null ? this.#retryAfterMs : Number(asked[1]);
    return {
      code,
      reason: closeReason === '' ? this.#reason : closeReason,
      isRefused: this.#status !== undefined && isFinal(this.#status),
      retryAfterMs: retryAfterMs === undefined ? undefined : Math.min(retryAfterMs, MAX_RETRY_AFTER_MS),
      greeted: this.#greeted,
    };
  }
}

/** A message that could not be sent is still in the buffer, and the close that follows leads to its being sent again. */
function ignoreSendError(): void {
  return;
}

/** 408 and 429 pass; every other 4xx stays. */
function isFinal(status: number): boolean {
  return status >= 400 && status < 500 && status !== 408 && status !== 429;
}
