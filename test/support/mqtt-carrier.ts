/** What carries an MQTT device's bytes: TCP, or a WebSocket to the edge's `/mqtt`. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { WebSocket } from 'ws';
import type { TestEdge } from './edge.js';

export interface Carrier {
  write(bytes: Buffer): void;
  /** Reads nothing more. */
  pause(): void;
  resume(): void;
  /** Breaks the connection without a word. */
  destroy(): void;
}

export interface Listener {
  readonly bytes: (chunk: Buffer) => void;
  readonly closed: () => void;
}

/** Connects. */
export type Dial = (listener: Listener) => Promise<Carrier>;

export const MQTT_WAYS = ['TCP', 'WebSocket'] as const;
export type MqttWay = (typeof MQTT_WAYS)[number];

/** How an edge is reached. */
export function dialEdge({ mqttPort, port }: Pick<TestEdge, 'mqttPort' | 'port'>, way: MqttWay): Dial {
  return way === 'TCP' ? dialTcp(mqttPort) : dialWebSocket(port);
}

export function dialTcp(port: number): Dial {
  return async ({ bytes, closed }) => {
    const socket = connect(port, '127.0.0.1');
    socket.setNoDelay(true);
    socket.on('data', bytes);
    // A reset is one of the ways to be closed.
    socket.on('error', () => undefined);
    socket.on('close', closed);
    await once(socket, 'connect');
    return socket;
  };
}

function dialWebSocket(port: number): Dial {
  return async ({ bytes, closed }) => {
    const socket = new WebSocket(`ws://127.0.0.1:${port}/mqtt`, ['mqtt'], { perMessageDeflate: false });
    socket.on('message', (message) => bytes(message as Buffer));
    socket.on('close', closed);
    await once(socket, 'open');
    // The close event that follows says all that a test asks for.
    socket.on('error', () => undefined);
    return {
      write: (chunk) => socket.send(chunk, { binary: true }),
      pause: () => socket.pause(),
      resume: () => socket.resume(),
      destroy: () => socket.terminate(),
    };
  };
}
