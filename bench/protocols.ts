/** The protocols that a load speaks: for each its frames, and its connections. */
import { DeviceConnection } from './device-connection.js';
import { binaryShape, jsonShape } from './device-frames.js';
import { HttpConnection, httpShape } from './http-connection.js';
import type { LoadConnection, OnAcked } from './load-connection.js';
import type { LoadOptions } from './load-options.js';
import { AmqpConnection, amqpShape } from './peers/amqp-connection.js';
import { MqttConnection, mqttShape } from './peers/mqtt-connection.js';
import { NatsConnection, natsShape } from './peers/nats-connection.js';
import { PostgresConnection, postgresShape } from './peers/postgres-connection.js';
import { RedisConnection } from './peers/redis-connection.js';
import { redisShape } from './peers/redis.js';
import { OneFrame } from './one-frame.js';
import { RecordBlock, type Block, type FrameShape } from './record-block.js';

/** Makes the connection of an index. */
export type Connector = (index: number) => LoadConnection;

/** Connections of a load's protocol, which share their frames where the protocol allows it. */
export function connectorFor(options: LoadOptions, onAcked: OnAcked): Connector {
  const { protocol, host, port, payloadBytes, inFlight, recordsAFrame } = options;
  const blockOf = (shape: FrameShape): RecordBlock => new RecordBlock(shape, inFlight);
  switch (protocol) {
    case 'binary':
    case 'json': {
      const block = deviceBlock(options);
      return (index) => new DeviceConnection(index, host, port, block, onAcked, protocol);
    }
    case 'http': {
      const block = blockOf(httpShape(payloadBytes, numberOf(recordsAFrame)));
      return (index) => new HttpConnection(index, host, port, block, onAcked);
    }
    case 'udp':
      throw new Error('UDP has no connections: see udp-load.ts');
    case 'redis': {
      const block = blockOf(redisShape(payloadBytes));
      return (index) => new RedisConnection(index, host, port, block, onAcked);
    }
    case 'mqtt': {
      const block = blockOf(mqttShape(payloadBytes));
      return (index) => new MqttConnection(index, host, port, block, onAcked);
    }
    case 'nats':
      return (index) => new NatsConnection(index, host, port, blockOf(natsShape(payloadBytes, index)), onAcked);
    case 'amqp': {
      const block = blockOf(amqpShape(payloadBytes));
      return (index) => new AmqpConnection(index, host, port, block, onAcked);
    }
    case 'postgres': {
      const block = blockOf(postgresShape(payloadBytes, inFlight));
      return (index) => new PostgresConnection(index, host, port, block, onAcked);
    }
  }
}

function deviceBlock({ protocol, payloadBytes, inFlight, recordsAFrame }: LoadOptions): Block {
  if (protocol === 'binary' && recordsAFrame === 'all') return new OneFrame(payloadBytes, inFlight);
  const shape = protocol === 'binary' ? binaryShape : jsonShape;
  return new RecordBlock(shape(payloadBytes, numberOf(recordsAFrame)), inFlight);
}

function numberOf(recordsAFrame: LoadOptions['recordsAFrame']): number {
  if (recordsAFrame === 'all')
    throw new Error('only the binary protocol is spoken with all records of a write in one frame');
  return recordsAFrame;
}
