/** The edge: devices → ingest → queue → router, and shadow → devices. Wiring only. */
import { Admin } from '../../shared/admin.js';
import { exitWith, runService } from '../../shared/lifecycle.js';
import { createLogger } from '../../shared/log.js';
import { createRegistry, registerQueueGauges } from '../../shared/metrics.js';
import { Monitor } from '../../shared/monitor.js';
import { Queue } from '../../shared/queue/queue.js';
import { showTitle } from '../../shared/title.js';
import { Admission } from './admission.js';
import { AssignedSeqs } from './assigned-seq.js';
import { readEdgeConfig } from './config.js';
import { Downlink, type Receiver } from './downlink.js';
import { DownlinkMetrics } from './downlink-metrics.js';
import type { ForwardSettings } from './forward.js';
import { HttpMetrics } from './http/metrics.js';
import { RecordsEndpoint } from './http/records.js';
import { HttpServer } from './http/server.js';
import { Ingest } from './ingest.js';
import { EdgeMetrics } from './metrics.js';
import { mqttContext } from './mqtt/context.js';
import { MqttServer } from './mqtt/server.js';
import { MqttWebSocket } from './mqtt/websocket.js';
import { Sessions } from './sessions.js';
import { UdpEndpoint } from './udp/endpoint.js';
import { UdpMetrics } from './udp/metrics.js';
import { WebSocketEndpoint } from './websocket/endpoint.js';

export async function main(): Promise<void> {
  const config = readEdgeConfig();
  const log = createLogger('edge');
  const registry = createRegistry('edge');
  const metrics = new EdgeMetrics(registry, () => sessions.count);
  const fail = (error: unknown): never => exitWith(log, error, 'the edge failed');

  const queue = Queue.open(config.queuePath, { ...config, retainBytes: 0, onFailure: fail });
  const monitor = new Monitor<ForwardSettings>({
    name: 'forward',
    script: new URL('./forward.js', import.meta.url),
    queue,
    settings: { router: config.router, shard: config.shard },
    onReport: (values) => metrics.takeReport(values),
    onFailure: fail,
  });
  const ingest = new Ingest(queue, config, metrics, log, fail);
  const find = (deviceId: string): Receiver | undefined => sessions.find(deviceId);
  const downlink = new Downlink(config.downlink, find, new DownlinkMetrics(registry), log, fail);
  const sessions: Sessions = new Sessions(ingest, downlink, metrics);
  const admission = new Admission(config, sessions);
  const webSocket = new WebSocketEndpoint(config, admission, sessions, ingest, downlink, metrics);
  const assigned = new AssignedSeqs();
  const records = new RecordsEndpoint(config, admission, ingest, assigned, metrics, new HttpMetrics(registry));
  const udp =
    config.udpListen === 'off'
      ? []
      : [new UdpEndpoint(config.udpListen, config, ingest, metrics, new UdpMetrics(registry), fail)];
  const mqtt = mqttContext(config, { admission, sessions, ingest, downlink, metrics, assigned });
  const waiting: string[] = ['start'];
  registerQueueGauges(registry, 'uplink', () => queue.stats());

  await runService(log, [
    { name: 'queue', stop: () => queue.close() },
    new Admin(config.adminListen, registry, () => waiting),
    monitor,
    ingest,
    downlink,
    sessions,
    ...udp,
    new HttpServer(config.listen, [webSocket, new MqttWebSocket(config.origins, mqtt)], [records, webSocket]),
    new MqttServer(config.mqttListen, mqtt),
    showTitle('edge', () => `:${config.listen.port} devices=${sessions.count} queued=${queue.records}`),
  ]);
  waiting.length = 0;
  log.info({ queue: queue.path, queueId: queue.id, listen: config.listen }, 'edge is up');
}
