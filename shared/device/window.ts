/** The records that are sent on one connection and not acked yet, and how many bytes of the edge's window they take. */
interface Sent {
  readonly seq: number;
  readonly bytes: number;
}

export class SendWindow {
  #limitBytes = 0;
  #bytes = 0;
  #count = 0;
  /** In the order they were sent, refused ones with 0 bytes; what is before #head is acked. */
  #sent: Sent[] = [];
  #head = 0;

  /** Records that are neither acked nor refused. */
  get count(): number {
    return this.#count;
  }

  /** The seq of the record under way where it is the only one. */
  get onlySeq(): number | undefined {
    return this.#count === 1 ? this.#sent.findLast(({ bytes }) => bytes > 0)?.seq : undefined;
  }

  /** Bytes that may still be sent. */
  get roomBytes(): number {
    return this.#limitBytes - this.#bytes;
  }

  /** Begins anew with nothing sent. */
  reset(limitBytes: number): void {
    this.#limitBytes = limitBytes;
    this.#bytes = 0;
    this.#count = 0;
    this.#sent = [];
    this.#head = 0;
  }

  add(seq: number, bytes: number): void {
    this.#sent.push({ seq, bytes });
    this.#bytes += bytes;
    this.#count++;
  }

  /** Everything through `seq` is acked. */
  settleThrough(seq: number): void {
    for (; this.#head < this.#sent.length && this.#sent[this.#head]!.seq <= seq; this.#head++) {
      this.#free(this.#sent[this.#head]!.bytes);
    }
    if (this.#head * 2 <= this.#sent.length) return;
    this.#sent = this.#sent.slice(this.#head);
    this.#head = 0;
  }

  /** One record was refused: it takes no room any more. */
  settle(seq: number): void {
    const index = this.#sent.findIndex((sent) => sent.seq === seq);
    if (index < this.#head) return;
    this.#free(this.#sent[index]!.bytes);
    this.#sent[index] = { seq, bytes: 0 };
  }

  #free(bytes: number): void {
    this.#bytes -= bytes;
    if (bytes > 0) this.#count--;
  }
}
