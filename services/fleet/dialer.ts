/** Which protocol is spoken by which Dialer. */
import type { Dialer, DialerOptions } from './connection.js';
import { WebSocketDialer } from './websocket-dialer.js';

export function makeDialer(options: DialerOptions): Dialer {
  switch (options.protocol) {
    case 'json':
    case 'binary':
      return new WebSocketDialer(options.edge, options.protocol, options.payloadBytes);
  }
}
