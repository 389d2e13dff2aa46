/** `--script "30s offline; 90s online; 150s quit"`: what happens to the fleet when, counted from its start. */
import { duration } from '../../shared/config.js';
import { HoldfastError } from '../../shared/errors.js';

/** What can be done to a fleet while it runs, by script or on a terminal. */
export const COMMANDS = ['offline', 'online', 'status', 'quit'] as const;
export type FleetCommand = (typeof COMMANDS)[number];

export interface ScriptStep {
  readonly atMs: number;
  readonly command: FleetCommand;
}

const time = duration('--script', '', 0, 30 * 86_400_000, '');

/**
 * Reads a script; steps are separated by `;` and their times do not fall.
 * @throws HoldfastError bad_config naming the step
 */
export function parseScript(text: string): readonly ScriptStep[] {
  const steps = text
    .split(';')
    .map((step) => step.trim())
    .filter((step) => step !== '')
    .map(parseStep);
  steps.forEach(({ atMs }, index) => {
    const before = steps[index - 1];
    if (before !== undefined && before.atMs > atMs)
      throw badStep(text, `step ${index + 1} is before the one before it`);
  });
  return steps;
}

/** @returns undefined for a word that is no command */
export function parseCommand(word: string): FleetCommand | undefined {
  return COMMANDS.find((command) => command === word);
}

function parseStep(step: string): ScriptStep {
  const [when = '', word = '', ...more] = step.split(/\s+/);
  const atMs = time.parse(when);
  const command = parseCommand(word);
  if (atMs === undefined || command === undefined || more.length > 0) {
    throw badStep(step, `a step is a time and one of ${COMMANDS.join(', ')}, as "30s offline"`);
  }
  return { atMs, command };
}

function badStep(step: string, why: string): HoldfastError {
  return new HoldfastError('bad_config', `--script ${JSON.stringify(step)}: ${why}`, false);
}
