/**
 * A clock that jumps, for a service that is started with `--import` of this file: `Date` is ahead of the machine's clock by
 * the ms that stand in the file named by HOLDFAST_TEST_CLOCK, or behind it. What is monotone stays so. In place of
 * libfaketime, which is not everywhere, and which would have to be told that the monotone clock is not its business.
 */
import { readFileSync } from 'node:fs';
import { inheritedEnvironment } from '../../shared/config.js';

const RealDate = Date;
const LOOK_MS = 50;
const file = inheritedEnvironment()['HOLDFAST_TEST_CLOCK']!;
let shiftMs = 0;
let lookedMs = 0;

function now(): number {
  const realMs = RealDate.now();
  if (realMs - lookedMs > LOOK_MS) {
    shiftMs = Number(readFileSync(file, 'utf8'));
    lookedMs = realMs;
  }
  return realMs + shiftMs;
}

globalThis.Date = new Proxy(RealDate, {
  get: (target, key) => (key === 'now' ? now : (Reflect.get(target, key) as unknown)),
  construct: (target, words: readonly unknown[]) =>
    Reflect.construct(target, words.length === 0 ? [now()] : words) as Date,
});
