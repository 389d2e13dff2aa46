/** `holdfast queue tail --live URL`: what the live service sends, as lines: the records as they pass, with type and site. */
import { once } from 'node:events';
import { WebSocket } from 'ws';
import { HoldfastError, messageOf } from '../../shared/errors.js';

export interface LiveTailOptions {
  /** As ws://live:7340/v1/live. */
  readonly url: string;
  readonly token: string | undefined;
  readonly device: string | undefined;
  /** Ends after so many records. */
  readonly limit: number;
  readonly signal: AbortSignal;
  readonly write: (text: string) => Promise<void>;
  /** Told what the service says beside records: errors, and how many messages were lost because we were slow. */
  readonly onNotice: (text: string) => void;
}

/**
 * Shows records until the limit or the abort.
 * @throws HoldfastError link_closed where the service cannot be reached, refuses or goes away
 */
export async function tailLive(options: LiveTailOptions): Promise<void> {
  const { url, token, device, signal } = options;
  const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const socket = new WebSocket(url, { headers });
  // Not `once`, which would reject at an error that nobody awaits it for.
  const closed = new Promise<void>((resolve) => void socket.once('close', () => resolve()));
  const stop = (): void => socket.terminate();
  signal.addEventListener('abort', stop);
  let shown = 0;
  const isDone = (): boolean => shown >= options.limit;
  try {
    await once(socket, 'open');
    socket.on('error', () => socket.terminate());
    let writing = Promise.resolve();
    socket.on('message', (data: Buffer) => {
      const text = data.toString('utf8');
      if (isDone()) return;
      if (!text.startsWith('{"device":')) {
        options.onNotice(text);
        return;
      }
      shown++;
      // A reader of our output that is slow makes the service's socket to us wait, which then says what we lost.
      socket.pause();
      writing = options.write(`${text}\n`).then(() => (isDone() ? socket.terminate() : socket.resume()));
      writing.catch(stop);
    });
    socket.send(JSON.stringify({ subscribe: device === undefined ? '*' : { devices: [device] } }));
    await closed;
    await writing;
  } catch (error) {
    throw new HoldfastError('link_closed', `${url}: ${messageOf(error)}`, true, error);
  } finally {
    signal.removeEventListener('abort', stop);
    socket.terminate();
  }
  if (!isDone() && !signal.aborted) throw new HoldfastError('link_closed', `${url}: the service has gone away`, true);
}
