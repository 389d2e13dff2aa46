/** Crash points: a service may end at whatever system call it likes. The long run tries every one (README.md). */
import t from 'tap';
import { straceMissing } from '../support/strace.js';
import { runCrashPoints, type CrashPoints } from './crash-points.js';

const skip = straceMissing() ?? false;

const POINTS: readonly CrashPoints[] = [
  { service: 'edge', call: 'fdatasync', fault: 'signal=KILL', part: 'opening' },
  { service: 'router', call: 'pwrite64', fault: 'signal=KILL', part: 'running', only: [1, 7] },
  { service: 'edge', call: 'pwrite64', fault: 'error=EIO', part: 'running', forGood: true, only: [4] },
  { service: 'router', call: 'fdatasync', fault: 'error=EIO', part: 'running', only: [3] },
];

for (const points of POINTS) {
  const { service, call, fault, only = [1] } = points;
  await t.test(`nothing acked is lost with ${fault} at a ${call} of the ${service}`, { skip }, async (t) => {
    const outcome = await runCrashPoints(points);
    t.same(outcome.lines, []);
    t.equal(outcome.tries, only.length);
  });
}
