import { test, type Test } from 'tap';
import type { WebSocket } from 'ws';
import { Kind } from '../../shared/batch.js';
import { silent } from '../../test/support/postgres.js';
import { until } from '../../test/support/processes.js';
import { encodeDown, WsEdge, type ReceivedRecord } from '../../test/support/ws-edge.js';
import { healthAt } from './engine-device.js';
import { readEngines, type Engine } from './engines.js';
import { Fleet } from './fleet.js';

const DELTA = 3;
const COMMAND = 4;
const ROWS = 8;
const HEALTH = [100, 86, 71, 57, 43, 29, 14, 0];

/** Two engines, one JSON and one binary, and an edge that can send to them. */
class Scene {
  readonly connections: string[] = [];
  readonly #sockets = new Map<string, WebSocket>();

  private constructor(readonly edge: () => WsEdge) {}

  static async start(t: Test, intervalMs: number): Promise<Scene> {
    const started: { edge?: WsEdge } = {};
    const scene = new Scene(() => started.edge!);
    const edge = await WsEdge.start({
      onConnection: (socket, device) => {
        scene.connections.push(device);
        scene.#sockets.set(device, socket);
      },
    });
    started.edge = edge;
    const site = { name: 'hamburg', latitude: 53.5, longitude: 9.8 };
    const rows = Array.from({ length: ROWS }, (_, index) => Buffer.from(`{"cycle":${index + 1}}`));
    const engines: Engine[] = ['engine-1', 'engine-2'].map((id) => ({ id, site, rows }));
    const fleet = new Fleet(engines, { edge: edge.url, intervalMs, deviceSecret: undefined }, silent);
    t.teardown(async () => {
      await fleet.stop();
      await edge.stop();
    });
    await fleet.start();
    return scene;
  }

  received(device: string, kind: number): ReceivedRecord[] {
    return this.edge().received.filter((record) => record.device === device && record.kind === kind);
  }

  reports(device: string): unknown[] {
    return this.received(device, Kind.report).map(({ payload }) => JSON.parse(payload) as unknown);
  }

  results(device: string): unknown[] {
    return this.received(device, Kind.result).map(({ payload }) => JSON.parse(payload) as unknown);
  }

  cycles(device: string): number[] {
    return this.received(device, Kind.telemetry).map(({ payload }) => (JSON.parse(payload) as { cycle: number }).cycle);
  }

  /** Waits until the engine has sent so many rows more. */
  async untilMore(device: string, count: number): Promise<void> {
    const before = this.cycles(device).length;
    await until(() => this.cycles(device).length >= before + count);
  }

  sendDelta(device: string, delta: unknown, version: number): void {
    const socket = this.#sockets.get(device)!;
    const binary = socket.protocol === 'holdfast.v1.binary';
    socket.send(binary ? encodeDown(DELTA, version, delta) : JSON.stringify({ delta, version }));
  }

  sendCommand(device: string, id: string, name: string): void {
    const socket = this.#sockets.get(device)!;
    const binary = socket.protocol === 'holdfast.v1.binary';
    const command = { id, name, data: {}, expires: Date.now() + 60_000 };
    socket.send(binary ? encodeDown(COMMAND, 0, command) : JSON.stringify({ command }));
  }
}

void test('health falls from 100 at the first cycle to 0 at the last, in whole numbers', (t) => {
  for (const { id, rows } of readEngines()) {
    const health = rows.map((_, row) => healthAt(row, rows.length));
    t.equal(health[0], 100, id);
    t.equal(health.at(-1), 0);
    t.ok(health.every((value, row) => Number.isInteger(value) && value <= (health[row - 1] ?? 100)));
    t.ok(new Set(health).size <= 101 && rows.length > 101, 'it changes less often than records come');
  }
  t.equal(healthAt(0, 1), 100);
  t.end();
});

for (const engine of ['engine-1', 'engine-2']) {
  void test(`${engine} reports health and throttle at its start, and health whenever it changes`, async (t) => {
    const scene = await Scene.start(t, 5);
    await scene.untilMore(engine, 2 * ROWS + 1);
    const [first, ...others] = scene.reports(engine);
    t.strictSame(first, { health: 100, throttle: 100 });
    t.strictSame(
      others.slice(0, 2 * ROWS),
      [...HEALTH.slice(1), ...HEALTH, 100].map((health) => ({ health })),
      'to 0, after which it begins anew',
    );
    const { received } = scene.edge();
    const own = received.filter(({ device }) => device === engine);
    t.equal(own[0]!.kind, Kind.report, 'its state comes before its first row');
  });

  void test(`${engine} takes a desired throttle from 0 to 100 and reports it; at 0 it stands still, connected`, async (t) => {
    const scene = await Scene.start(t, 10);
    const other = engine === 'engine-1' ? 'engine-2' : 'engine-1';
    const throttles = (): unknown[] =>
      scene.reports(engine).filter((report) => !('health' in (report as Record<string, unknown>)));
    await scene.untilMore(engine, 1);
    scene.sendDelta(engine, { throttle: 10 }, 2);
    await until(() => throttles().length === 1);
    const slow = scene.cycles(engine).length;
    await scene.untilMore(other, 100);
    const sent = scene.cycles(engine).length - slow;
    t.ok(sent > 0 && sent < 50, `at a tenth of the pace ${sent} rows, of the other 100`);

    scene.sendDelta(engine, { throttle: 0 }, 3);
    await until(() => throttles().length === 2);
    const still = scene.cycles(engine).length;
    await scene.untilMore(other, 50);
    t.equal(scene.cycles(engine).length, still, 'it sends nothing');

    scene.sendDelta(engine, { throttle: 100 }, 4);
    await scene.untilMore(engine, 20);
    t.strictSame(throttles(), [{ throttle: 10 }, { throttle: 0 }, { throttle: 100 }]);
    t.equal(scene.connections.filter((device) => device === engine).length, 1, 'on one connection');
  });

  void test(`${engine} answers what is no throttle with the one it has, and other wishes not at all`, async (t) => {
    const scene = await Scene.start(t, 10);
    const throttles = (): unknown[] =>
      scene.reports(engine).filter((report) => !('health' in (report as Record<string, unknown>)));
    await scene.untilMore(engine, 1);
    const deltas = [
      [{ throttle: 50 }, 50],
      ...[-1, 100.5, 'full', true, null, [50], { percent: 50 }].map((throttle) => [{ throttle }, 50] as const),
      [{ throttle: 0.5, color: 'red' }, 0.5],
    ] as const;
    for (const [index, [delta, throttle]] of deltas.entries()) {
      scene.sendDelta(engine, { color: 'red', health: 100 }, 2 * index + 2);
      scene.sendDelta(engine, delta, 2 * index + 3);
      await until(() => throttles().length > index);
      t.strictSame(throttles()[index], { throttle }, JSON.stringify(delta));
    }
    t.equal(throttles().length, deltas.length);
  });

  void test(`${engine} reboots: it is away, comes back at cycle 1 with full health and says how long it was down`, async (t) => {
    const scene = await Scene.start(t, 20);
    await scene.untilMore(engine, 3);
    scene.sendDelta(engine, { throttle: 90 }, 2);
    scene.sendCommand(engine, 'c-1', 'reboot');
    await until(() => scene.results(engine).length > 0);
    const [result] = scene.results(engine) as [{ data: { downMs: number } }];
    t.strictSame(result, { id: 'c-1', status: 'SUCCEEDED', data: { downMs: result.data.downMs } });
    t.ok(result.data.downMs >= 1_900, `${result.data.downMs} ms`);
    t.equal(scene.connections.filter((device) => device === engine).length, 2);
    await scene.untilMore(engine, 2);
    const reports = scene.reports(engine);
    const again = reports.findLastIndex((report) => 'throttle' in (report as Record<string, unknown>));
    t.strictSame(reports[again], { health: 100, throttle: 90 }, 'what it was set to stays');
    const cycles = scene.cycles(engine);
    const second = cycles.lastIndexOf(1);
    t.ok(second >= 3, 'after the rows from before');
    t.equal(cycles[second + 1], 2);
  });

  void test(`${engine} rejects a command that it does not know, and says which it knows`, async (t) => {
    const scene = await Scene.start(t, 20);
    await scene.untilMore(engine, 1);
    scene.sendCommand(engine, 'c-2', 'explode');
    await until(() => scene.results(engine).length > 0);
    t.match(scene.results(engine), [
      { id: 'c-2', status: 'REJECTED', data: { message: /knows the command reboot, and not explode/ } },
    ]);
    const before = scene.cycles(engine).length;
    await scene.untilMore(engine, 2);
    t.ok(scene.cycles(engine).length > before, 'it goes on');
  });
}
