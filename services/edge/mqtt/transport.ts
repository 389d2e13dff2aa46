/** What carries MQTT's bytes: a TCP connection or a WebSocket. */
export interface Transport {
  /** True where reading can be put off until there is room for more; over a WebSocket it cannot. */
  readonly canPause: boolean;
  /** Bytes that were sent and that neither the device nor the kernel has taken. */
  readonly unreadBytes: number;
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

/** Bytes that a device may have unread; what is sent to it beyond them cuts it off. */
export const UNREAD_BYTES = 64 * 1024;
