/** The records that are sent on one connection and not acked yet, and how many bytes of the edge's window they take. */
interface Sent {
  readonly seq: number;
  readonly bytes: number;
}

export class SendWindow {
  #limitBytes = 0;
  #bytes = 0;
  /** In the order they were sent; what is before #head is acked. */
  #sent: Sent[] = [];
  #head = 0;

  get bytes(): number {
    return this.#bytes;
  }

  /** Bytes that may still be sent. */
  get roomBytes(): number {
    return this.#limitBytes - this.#bytes;
  }

  /** Begins anew with nothing sent. */
  reset(limitBytes: number): void {
    this.#limitBytes = limitBytes;
    this.#bytes = 0;
    this.#sent = [];
    this.#head = 0;
  }

  add(seq: number, bytes: number): void {
    this.#sent.push({ seq, bytes });
    this.#bytes += bytes;
  }

  /** Everything through `seq` is acked. */
  settleThrough(seq: number): void {
    for (; this.#head < this.#sent.length && this.#sent[this.#head]!.seq <= seq; this.#head++) {
      this.#bytes -= this.#sent[this.#head]!.bytes;
    }
    if (this.#head * 2 <= this.#sent.length) return;
    this.#sent = this.#sent.slice(this.#head);
    this.#head = 0;
  }

  /** One record was refused: it takes no room any more. */
  settle(seq: number): void {
    const index = this.#sent.findIndex((sent) => sent.seq === seq);
    if (index < this.#head) return;
    this.#bytes -= this.#sent[index]!.bytes;
    this.#sent[index] = { seq, bytes: 0 };
  }
}
