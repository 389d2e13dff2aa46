/**
 * What one service says of itself at its admin endpoint: /readyz and the metrics that the overview shows, at one moment.
 * Whatever keeps it from answering is part of the answer.
 */
import { messageOf } from '../../shared/errors.js';

export interface Sample {
  readonly timeMs: number;
  /** Undefined: nobody answers, and `trouble` says why. */
  readonly waiting: readonly string[] | undefined;
  readonly trouble: string;
  readonly metrics: Metrics;
}

/** The values of an exposition, by name; those of one name by their labels. */
export class Metrics {
  readonly #values = new Map<string, { readonly labels: string; readonly value: number }[]>();

  /** @param exposition in Prometheus' text format */
  constructor(exposition: string) {
    for (const line of exposition.split('\n')) {
      const match = /^([A-Za-z_:][\w:]*)(?:\{(.*)\})? (\S+)$/.exec(line);
      if (match === null) continue;
      const [, name, labels, value] = match as unknown as [string, string, string | undefined, string];
      const list = this.#values.get(name) ?? [];
      list.push({ labels: labels ?? '', value: Number(value) });
      this.#values.set(name, list);
    }
  }

  /** The sum over all labels; undefined where the name is not there. */
  sum(name: string): number | undefined {
    return this.#values.get(name)?.reduce((sum, { value }) => sum + value, 0);
  }

  /** The values of a name by one of its labels. */
  by(name: string, label: string): ReadonlyMap<string, number> {
    const found = (this.#values.get(name) ?? []).flatMap(({ labels, value }): [string, number][] => {
      const match = new RegExp(`(?:^|,)${label}="([^"]*)"`).exec(labels);
      return match === null ? [] : [[match[1]!, value]];
    });
    return new Map(found);
  }
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
    return { timeMs, waiting: readWaiting(ready), trouble: '', metrics: new Metrics(metrics) };
  } catch (error) {
    return { timeMs, waiting: undefined, trouble: reasonOf(error), metrics: new Metrics('') };
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
