/**
 * The positions along the way, read while everything runs: each may only go forward, and none may be ahead of what it
 * stands on. What stands on something is read before it, so that a sample taken while both move is never wrong.
 *
 *   edge released ≤ router's source     router's cursor ≤ position committed by storage     router released ≤ cursor
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { HoldfastError, messageOf } from '../../../shared/errors.js';
import { databaseFault, Session } from '../../../shared/database.js';
import { comparePositions, formatPosition, START, type Position } from '../../../shared/position.js';
import type { QueueReader } from '../../../shared/queue/reader.js';
import { visitQueue } from '../../../shared/queue/visit.js';
import type { Findings, Rule } from './findings.js';

/** Positions of one moment, by name; and which must not be ahead of which. */
export interface PositionSample {
  readonly edgeReleased: Position;
  readonly routerSource: Position;
  readonly routerReleased: Position;
  readonly cursor: Position;
  /** Of storage in the database; undefined: nobody could be asked. */
  readonly committed: Position | undefined;
}

const NAMES = ['edgeReleased', 'routerSource', 'routerReleased', 'cursor', 'committed'] as const;
const BOUNDS: readonly (readonly [what: keyof PositionSample, most: keyof PositionSample, rule: Rule])[] = [
  ['edgeReleased', 'routerSource', 'released'],
  ['routerReleased', 'cursor', 'cursor'],
  ['cursor', 'committed', 'cursor'],
];

/** Looks at samples in the order in which they were taken. */
export function checkSamples(samples: Iterable<PositionSample>, findings: Findings): void {
  const before = new Map<string, Position>();
  for (const sample of samples) {
    for (const name of NAMES) {
      const position = sample[name];
      const last = before.get(name);
      if (position === undefined) continue;
      if (last !== undefined && comparePositions(position, last) < 0) {
        findings.add('position', `${name} went from ${formatPosition(last)} back to ${formatPosition(position)}`);
      }
      before.set(name, position);
    }
    for (const [what, most, rule] of BOUNDS) {
      const [position, bound] = [sample[what], sample[most]];
      if (position === undefined || bound === undefined || comparePositions(position, bound) <= 0) continue;
      findings.add(rule, `${what} ${formatPosition(position)} is ahead of ${most} ${formatPosition(bound)}`);
    }
  }
}

const INTERVAL_MS = 20;

/** Nobody could be asked: no connection came about, or it went, or the fault is a statement_timeout, which meets everybody. */
function isPassing(error: unknown): boolean {
  const isUnopened = error instanceof HoldfastError && error.retry;
  return isUnopened || databaseFault(error) === 'connection' || messageOf(error).includes('statement timeout');
}

/** Takes samples of an edge, a router and a database until it is stopped. */
export class PositionWatch {
  readonly samples: PositionSample[] = [];
  readonly #running: Promise<void>;
  #session: Session | undefined;
  #stopped = false;

  private constructor(
    private readonly edge: QueueReader,
    private readonly router: QueueReader,
    private readonly databaseUrl: string,
  ) {
    this.#running = this.#run();
  }

  /** The queues must be there; they may be opened by their writers again and again meanwhile. */
  static async start(edgeQueue: string, routerQueue: string, databaseUrl: string): Promise<PositionWatch> {
    return new PositionWatch(await visitQueue(edgeQueue), await visitQueue(routerQueue), databaseUrl);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
    await this.#session?.close();
    await this.edge.close();
    await this.router.close();
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      this.samples.push(await this.#sample());
      await sleep(INTERVAL_MS);
    }
  }

  async #sample(): Promise<PositionSample> {
    const edgeReleased = this.edge.position('released') ?? START;
    const routerSource = this.router.position(`source/${this.edge.id ?? ''}`) ?? START;
    const routerReleased = this.router.position('released') ?? START;
    const cursor = this.router.position('cursor/storage') ?? START;
    const committed = await this.#committed(this.router.id ?? '');
    return { edgeReleased, routerSource, routerReleased, cursor, committed };
  }

  /** A database that is away is asked again next time. */
  async #committed(queueId: string): Promise<Position | undefined> {
    try {
      this.#session ??= await Session.open(this.databaseUrl, 'history');
      const { rows } = await this.#session.client.query<{ epoch: string; offset: string }>(
        `select epoch, "offset" from consumer_positions where queue_id = $1 and consumer = 'storage'`,
        [queueId],
      );
      return rows[0] === undefined ? START : { epoch: Number(rows[0].epoch), offset: Number(rows[0].offset) };
    } catch (error) {
      if (!isPassing(error)) throw error;
      this.#session?.destroy();
      this.#session = undefined;
      return undefined;
    }
  }
}
