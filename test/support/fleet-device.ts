/** A simulated device of services/fleet at the door of an edge that a test has made: with what its process would share, in sight. */
import type { Test } from 'tap';
import { noCounters, type Counters } from '../../services/fleet/counters.js';
import { FleetDevice } from '../../services/fleet/device.js';
import { makeDialer } from '../../services/fleet/dialer.js';
import { Histogram } from '../../services/fleet/histogram.js';

export const FLEET_DEVICE_ID = 'fleet-test-1';
/** When its first record is due, ms since 1970; the next ones are due every FLEET_INTERVAL_MS. */
export const FLEET_FIRST_TIME_MS = 1_700_000_000_000;
export const FLEET_INTERVAL_MS = 10;

export interface FleetBench {
  readonly device: FleetDevice;
  readonly counters: Counters;
  readonly latencies: Histogram;
  /** What the device has called a failure of the whole fleet. */
  readonly failures: Error[];
}

export interface FleetDeviceSetup {
  readonly dialer: Parameters<typeof makeDialer>[0];
  readonly bufferRecords: number;
  readonly token: string | undefined;
}

/** Makes a device; when the test is over it is disconnected first, and then its edge is stopped. */
export function fleetDevice(t: Test, setup: FleetDeviceSetup, stopEdge: () => Promise<unknown>): FleetBench {
  const failures: Error[] = [];
  const around = {
    dialer: makeDialer(setup.dialer),
    counters: noCounters(),
    latencies: new Histogram(),
    intervalMs: FLEET_INTERVAL_MS,
    bufferRecords: setup.bufferRecords,
    onFailure: (error: Error) => failures.push(error),
  };
  const identity = { id: FLEET_DEVICE_ID, token: setup.token, localAddress: undefined };
  const device = new FleetDevice(identity, FLEET_FIRST_TIME_MS, around);
  t.teardown(async () => {
    device.disconnect();
    await stopEdge();
  });
  return { device, counters: around.counters, latencies: around.latencies, failures };
}

/** Has a device make records and send what it may. */
export function produce(device: FleetDevice, count: number): void {
  for (let made = 0; made < count; made++) device.produce();
  device.flush();
}
