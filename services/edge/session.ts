/** One device's session as the ingest sees it, whatever protocol it speaks. */

/** Why a record was not taken, as the device is told (DESIGN: device protocol). */
export type RecordErrorCode = 'bad_json' | 'bad_record' | 'bad_seq' | 'bad_time' | 'too_large' | 'refused';

/** What there is no room in: the device's own window, the edge's memory, or its queue. */
export type Room = 'window' | 'memory' | 'queue';

/** Why a session ends, as the edge says it; each protocol has its own code for it. */
export type Ending =
  | { readonly why: 'malformed' | 'taken_over' | 'restart' }
  /** There is no room for its records; it may come back with them after a while. */
  | { readonly why: 'no_room'; readonly room: Room; readonly retryAfterMs: number };

/** What the ingest tells a device; each protocol has its own words for it. */
export interface Replies {
  ack(seq: number): void;
  error(code: RecordErrorCode, message: string, seq: number | undefined): void;
  /** Closes the connection; nothing can be sent after it. */
  close(ending: Ending): void;
}

/** A session's share of the records that are committed together. */
export interface Share {
  readonly session: DeviceSession;
  seq: number;
  bytes: number;
}

export class DeviceSession {
  /** The device's id in ASCII, as it is written into records. */
  readonly idBytes: Buffer;
  /** The highest seq taken on this connection. */
  lastSeq = 0;
  /** Records seen on a connection whose device has given no seq; undefined once it gave one. */
  counted: number | undefined = 0;
  /** True once a record came without a seq: from then on the edge counts, and no seq may be given. */
  isCounting = false;
  /** Bytes taken and not acked. */
  unackedBytes = 0;
  /** Its share of the group that is filling; the group it belongs to stands beside it. */
  share: Share | undefined;
  shareGroup = 0;
  #closing: Ending | undefined;
  #closed = false;

  constructor(
    readonly deviceId: string,
    private readonly replies: Replies,
  ) {
    this.idBytes = Buffer.from(deviceId, 'latin1');
  }

  /** False once nothing more may be taken from this connection. */
  get isTaking(): boolean {
    return this.#closing === undefined && !this.#closed;
  }

  /** Counts a record that cannot be read. @returns its seq, where the edge counts */
  countUnread(): number | undefined {
    if (this.counted === undefined) return undefined;
    this.counted++;
    // Before the first record that can be read nobody knows who counts.
    return this.isCounting ? this.counted : undefined;
  }

  /** Gives back the bytes of a commit that is over and acks it. */
  settle(seq: number, bytes: number): void {
    this.unackedBytes -= bytes;
    if (this.#closed) return;
    this.replies.ack(seq);
    if (this.#closing !== undefined && this.unackedBytes === 0) this.close(this.#closing);
  }

  error(code: RecordErrorCode, message: string, seq?: number): void {
    if (!this.#closed) this.replies.error(code, message, seq);
  }

  /** Takes nothing more, and closes once everything taken is acked. */
  closeWhenAcked(ending: Ending): void {
    if (this.unackedBytes === 0) this.close(ending);
    else this.#closing ??= ending;
  }

  close(ending: Ending): void {
    if (this.#closed) return;
    this.#closed = true;
    this.replies.close(ending);
  }

  /** The connection is gone: nothing is sent any more; what was taken is committed all the same. */
  markClosed(): void {
    this.#closed = true;
  }
}
