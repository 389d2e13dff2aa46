/** Runs faults of network.ts one after the other, in the network namespace that it was started in: MS HOSTS FAULT… */
import { writeSync } from 'node:fs';
import type { Outcome } from './outcome.js';
import { meetFault } from './network.js';

const [forMs, hosts, ...faults] = process.argv.slice(2) as [string, string, ...string[]];
const outcomes: Outcome[] = [];
for (const fault of faults) outcomes.push(await meetFault(fault, Number(forMs), hosts));
writeSync(1, JSON.stringify(outcomes));
