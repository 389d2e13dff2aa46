/**
 * What one service says of itself at its admin endpoint: /readyz and the metrics that the overview shows, at one moment.
 * Whatever keeps it from answering is part of the answer.
 */
import { messageOf } from '../../shared/errors.js';
import { Exposition } from '../../shared/exposition.js';

export interface Sample {
  readonly timeMs: number;
  /** Undefined: nobody answers, and `trouble` says why. */
  readonly waiting: readonly string[] | undefined;
  readonly trouble: string;
  readonly metrics: Exposition;
}

const TIMEOUT_MS = 2_000;

/**
 * Asks a service; never rejects.
 * @param address host:port of its admin endpoint
 */
export async function scrape(address: string): Promise<Sample> {
  const timeMs = performance.now();
  try {
    const [ready, metrics] = await Promise.all([get(address, '/readyz'), get(address, '/metrics')]);
    return { timeMs, waiting: readWaiting(ready), trouble: '', metrics: new Exposition(metrics) };
  } catch (error) {
    return { timeMs, waiting: undefined, trouble: reasonOf(error), metrics: new Exposition('') };
  }
}

async function get(address: string, path: string): Promise<string> {
  const response = await fetch(`http://${address}${path}`, { signal: AbortSignal.timeout(TIMEOUT_MS) });
  return response.text();
}

function readWaiting(text: string): readonly string[] {
  const { waiting } = JSON.parse(text) as { waiting?: unknown };
  if (!Array.isArray(waiting)) throw new Error('its /readyz is not that of a Holdfast service');
  return waiting.map(String);
}

/** fetch hides what was in the way in the cause of its error. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error) || error.cause === undefined) return messageOf(error);
  const { cause } = error;
  return cause instanceof AggregateError ? cause.errors.map(messageOf).join(', ') : messageOf(cause);
}
