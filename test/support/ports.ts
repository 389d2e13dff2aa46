/**
 * Ports of loopback for tests: below the range from which the kernel takes the ports of outgoing connections, so that none
 * of those gets in the way, and from a part of it that depends on the process, so that test files that run side by side
 * do not ask for the same.
 */
import { isPortFree } from '../../shared/free-port.js';

const FIRST_PORT = 10_000;
const PORTS = 20_000;
const PORTS_A_PROCESS = 40;

let asked = 0;

/** A port that was free a moment ago, and that this process has not asked for lately. */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < PORTS; tries++) {
    const port = FIRST_PORT + ((process.pid * PORTS_A_PROCESS + asked++) % PORTS);
    if (await isPortFree(port)) return port;
  }
  throw new Error('no port of the tests is free');
}

export async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = [];
  while (ports.length < count) ports.push(await freePort());
  return ports;
}
