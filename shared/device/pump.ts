/** Moves records from the outbox to the link, as far as the edge's window goes. */
import { encodeJsonMessage } from '../device-frames.js';
import type { Link } from './link.js';
import type { Outbox } from './outbox.js';

export class Pump {
  #scheduled = false;

  /** @param onPumped called whenever everything that may be sent has been */
  constructor(
    private readonly outbox: Outbox,
    private readonly link: Link,
    private readonly binary: boolean,
    private readonly onPumped: () => void,
  ) {}

  /** Records that are sent in one turn of the event loop travel in one message. */
  schedule(): void {
    if (this.#scheduled || !this.link.open) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      this.run();
    });
  }

  run(): void {
    while (this.link.open) {
      const frames = this.outbox.next();
      if (frames.length === 0) break;
      this.link.send(this.binary ? Buffer.concat(frames) : encodeJsonMessage(frames));
    }
    this.onPumped();
  }

  /**
   * The edge has refused a whole message (one that is too large for it, say), and its next ack may pass over every record in
   * it. Believing that ack would lose them: the session is cut, and what was under way is sent again, one record at a time.
   */
  sendSingly(): void {
    this.outbox.sendSingly();
    this.link.cut();
  }
}
