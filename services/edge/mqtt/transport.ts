/** What carries MQTT's bytes: a TCP connection or a WebSocket. */
export interface Transport {
  /** True where reading can be put off until there is room for more; over a WebSocket it cannot. */
  readonly canPause: boolean;
  /** Sends bytes. @returns false where they were dropped, and the connection with them: too much was unread already */
  send(bytes: Buffer): boolean;
  /** Reads nothing more until `resume`. */
  pause(): void;
  resume(): void;
  /** Sends what was given to `send`, and ends the connection. */
  end(): void;
  /** Ends the connection at once. */
  destroy(): void;
}

/** Bytes that a device leaves unread before it is cut off. */
export const UNREAD_BYTES = 64 * 1024;
