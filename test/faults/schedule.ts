/** Which fault comes when, in a soak: from a seed, and from nothing else. */
import { randomFrom } from './random.js';

export const SOAK_FAULTS = [
  'kill edge',
  'kill router',
  'kill storage',
  'stop edge',
  'stop router',
  'stop storage',
  'kill postgres',
  'halt postgres',
  'lock table',
  'end backends',
] as const;
export type SoakFault = (typeof SOAK_FAULTS)[number];

export interface Scheduled {
  /** From the beginning. */
  readonly atMs: number;
  readonly fault: SoakFault;
  /** How long it lasts, where it lasts. */
  readonly forMs: number;
}

const LONGEST_MS = 6_000;

/** A fault every `intervalMs`, through `lengthMs`. */
export function scheduleOf(seed: number, lengthMs: number, intervalMs: number): Scheduled[] {
  const random = randomFrom(seed);
  const schedule: Scheduled[] = [];
  for (let atMs = intervalMs; atMs < lengthMs; atMs += intervalMs) {
    const fault = SOAK_FAULTS[Math.floor(random() * SOAK_FAULTS.length)]!;
    schedule.push({ atMs, fault, forMs: Math.round(random() * LONGEST_MS) });
  }
  return schedule;
}
