/** Which protocol is spoken by which Dialer. */
import type { Dialer, DialerOptions } from './connection.js';
import { HttpDialer } from './http-dialer.js';
import { MqttDialer } from './mqtt-dialer.js';
import { UdpDialer } from './udp-dialer.js';
import { WebSocketDialer } from './websocket-dialer.js';

export function makeDialer({ edge, protocol, payloadBytes }: DialerOptions): Dialer {
  switch (protocol) {
    case 'json':
    case 'binary':
      return new WebSocketDialer(edge, protocol, payloadBytes);
    case 'mqtt':
      return new MqttDialer(edge, payloadBytes);
    case 'http':
      return new HttpDialer(edge, payloadBytes);
    case 'udp':
      return new UdpDialer(edge, payloadBytes);
  }
}
