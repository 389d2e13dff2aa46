/**
 * A worker process of a fleet: some of its devices, their schedule and their counts. It does what the fleet says over the IPC
 * channel and ends with it; signals are the fleet's to handle, which a terminal sends to every process of its group.
 */
import { deviceToken } from '../../shared/token.js';
import { messageOf, type HoldfastError } from '../../shared/errors.js';
import { noCounters, type Counters } from './counters.js';
import { FleetDevice, type DeviceSurroundings } from './device.js';
import { makeDialer } from './dialer.js';
import { Histogram } from './histogram.js';
import { makeLedger } from './ledger.js';
import type { FromWorker, ToWorker, WorkerSetup } from './messages.js';
import { firstDue, Schedule, startOf } from './schedule.js';
import { SOURCE_DEVICES } from './sources.js';

const TICK_MS = 5;
/** Devices that send between two looks for acks. */
const FLUSH_DEVICES = 16;
const SAMPLE_MS = 200;
const CHECK_MS = 1_000;

class Worker {
  readonly #counters: Counters = noCounters();
  readonly #latencies = new Histogram();
  readonly #devices: readonly FleetDevice[];
  readonly #schedule: Schedule<FleetDevice>;
  readonly #timers: readonly NodeJS.Timeout[];
  /** Have records to send. */
  readonly #due: FleetDevice[] = [];
  #flushing: NodeJS.Immediate | undefined;
  #makes = true;
  #online = true;
  /** performance.now() of the fleet's start: the schedule goes on evenly where the clock is set. */
  readonly #startMs: number;
  /** Devices that the ramp has started so far. */
  #started = 0;

  constructor(private readonly setup: WorkerSetup) {
    const { devices, startMs } = setup;
    this.#startMs = performance.now() + startMs - Date.now();
    const around = this.#surroundings();
    const items = Array.from({ length: devices }, (_, index) => {
      const firstMs = this.#firstDue(index);
      return { item: new FleetDevice(this.#identity(index), startMs + firstMs, around), firstMs };
    });
    this.#devices = items.map(({ item }) => item);
    this.#schedule = new Schedule(items, setup.intervalMs);
    this.#timers = [
      setInterval(() => this.#tick(), TICK_MS),
      setInterval(() => this.#sample(), SAMPLE_MS),
      setInterval(() => this.#check(), CHECK_MS),
    ];
  }

  offline(): void {
    this.#online = false;
    for (const device of this.#devices) device.disconnect();
  }

  online(): void {
    if (this.#online) return;
    this.#online = true;
    this.#counters.backlog = 0;
    for (const device of this.#devices.slice(0, this.#started)) device.connect(false);
    this.#sample();
  }

  quiet(): void {
    this.#makes = false;
    this.#sample();
  }

  finish(): void {
    for (const timer of this.#timers) clearInterval(timer);
    clearImmediate(this.#flushing);
    for (const device of this.#devices) device.close();
    const { firstDevice } = this.setup;
    const ledger = makeLedger(this.#devices.map(({ ledger }, index) => [firstDevice + index, ledger] as const));
    tell({ type: 'finished', counters: this.#counters, latencies: this.#latencies.take(), ledger });
  }

  #tick(): void {
    const elapsedMs = performance.now() - this.#startMs;
    while (this.#started < this.#devices.length && this.#startOf(this.#started) <= elapsedMs) {
      const device = this.#devices[this.#started++]!;
      if (this.#online) device.connect(true);
    }
    if (!this.#makes) return;
    this.#schedule.run(elapsedMs, (device) => {
      device.produce();
      this.#due.push(device);
    });
    // Only now: where this process was late, a device's records go in one write, and it catches up.
    if (this.#flushing === undefined) this.#flush();
  }

  /** Some devices a turn: an ack that came meanwhile is read now, and not after all that is due has been sent. */
  #flush(): void {
    for (const device of this.#due.splice(0, FLUSH_DEVICES)) device.flush();
    this.#flushing = this.#due.length > 0 ? setImmediate(() => this.#flush()) : undefined;
  }

  #check(): void {
    const nowMs = performance.now();
    for (const device of this.#devices) device.check(nowMs);
  }

  #sample(): void {
    tell({ type: 'sample', counters: this.#counters, latencies: this.#latencies.take(), isQuiet: !this.#makes });
  }

  #surroundings(): DeviceSurroundings {
    const { intervalMs, bufferRecords } = this.setup;
    return {
      dialer: makeDialer(this.setup),
      counters: this.#counters,
      latencies: this.#latencies,
      intervalMs,
      bufferRecords,
      onFailure: fail,
    };
  }

  #identity(index: number): FleetDevice['identity'] {
    const { run, firstDevice, deviceSecret, sources } = this.setup;
    const number = firstDevice + index;
    const id = `fleet-${run}-${number}`;
    const token = deviceSecret === undefined ? undefined : deviceToken(deviceSecret, id);
    return { id, token, localAddress: sources[Math.floor(number / SOURCE_DEVICES)] };
  }

  #startOf(index: number): number {
    return startOf(this.setup.firstDevice + index, this.setup.fleetDevices, this.setup.rampMs);
  }

  #firstDue(index: number): number {
    const { firstDevice, fleetDevices, rampMs, intervalMs } = this.setup;
    return firstDue(firstDevice + index, fleetDevices, rampMs, intervalMs);
  }
}

function tell(message: FromWorker): void {
  // A fleet that is gone ends this process by the end of the channel.
  if (process.connected) process.send!(message);
}

function fail(error: HoldfastError): void {
  tell({ type: 'failed', message: error.message });
}

let worker: Worker | undefined;

function receive(message: ToWorker): void {
  switch (message.type) {
    case 'setup':
      worker = new Worker(message.setup);
      break;
    case 'offline':
      worker?.offline();
      break;
    case 'online':
      worker?.online();
      break;
    case 'quiet':
      worker?.quiet();
      break;
    case 'finish':
      worker?.finish();
  }
}

process.on('SIGINT', () => undefined);
process.on('SIGTERM', () => undefined);
process.on('disconnect', () => process.exit());
process.on('uncaughtException', (error) => {
  tell({ type: 'failed', message: `a worker of the fleet failed: ${messageOf(error)}` });
});
process.on('message', (message) => receive(message as ToWorker));
