/**
 * Which fault comes when, in a soak: from a seed, and from nothing else.
 *
 * Services are killed in the first third alone. A process that begins anew every few minutes shows no leak, so the slopes are
 * those of the second half, and when it begins every process has lived for a sixth of the soak, has met faults and had its
 * greatest backlogs: what it grows to in its first minutes is no slope.
 */
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
const KILLS: readonly SoakFault[] = ['kill edge', 'kill router', 'kill storage'];
const LASTING = SOAK_FAULTS.filter((fault) => !KILLS.includes(fault));

/** A fault every `intervalMs`, through `lengthMs`. */
export function scheduleOf(seed: number, lengthMs: number, intervalMs: number): Scheduled[] {
  const random = randomFrom(seed);
  const schedule: Scheduled[] = [];
  for (let atMs = intervalMs; atMs < lengthMs; atMs += intervalMs) {
    const faults = atMs < lengthMs / 3 ? SOAK_FAULTS : LASTING;
    const fault = faults[Math.floor(random() * faults.length)]!;
    schedule.push({ atMs, fault, forMs: Math.round(random() * LONGEST_MS) });
  }
  return schedule;
}
