/** Whether a port of loopback is free, for what starts services on ports of its own: somebody else may take it the moment after. */
import { once } from 'node:events';
import { createServer } from 'node:net';

/** @param port of TCP, on 127.0.0.1 */
export async function isPortFree(port: number): Promise<boolean> {
  const server = createServer();
  const listening = once(server, 'listening');
  server.listen(port, '127.0.0.1');
  try {
    await listening;
  } catch {
    // Somebody else's: that is the answer.
    return false;
  }
  server.close();
  await once(server, 'close');
  return true;
}
