/** A history under way: devices write into its log, and in the end it is checked. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { withBatches } from './batches.js';
import { HistoryCheck, type QueueRules } from './check.js';
import type { Findings } from './findings.js';
import { EntryType, HistoryLog } from './log.js';
import type { HistoryKind } from './payload.js';
import { checkSamples, type PositionSample } from './positions.js';
import { readRows } from './rows.js';
import { checkShadows, type ShadowSource } from './shadows.js';

/** Where to look; what is not given is not looked at. */
export interface Places {
  readonly databaseUrl?: string;
  readonly routerQueue?: string;
  /** What holds for the router's queue; default: it has kept everything, and devices may have sent again. */
  readonly routerRules?: QueueRules;
  readonly edgeQueue?: string;
  /** Default: as for the router. */
  readonly edgeRules?: QueueRules;
  readonly positions?: Iterable<PositionSample>;
  readonly shadows?: ShadowSource;
}

const KEEPS_ALL: QueueRules = { holdsAll: true, isOnce: false };

interface Counts {
  sent: number;
  acked: number;
  refused: number;
}

export class History {
  readonly directory = mkdtempSync(join(tmpdir(), 'holdfast-history-'));
  readonly #log = new HistoryLog(join(this.directory, 'history'));
  readonly #counts = new Map<string, Counts>();

  sent(deviceId: string, seq: number, kind: HistoryKind = 'telemetry'): void {
    this.#log.write(EntryType[kind], deviceId, seq);
    this.#of(deviceId).sent = seq;
  }

  /** Acks are cumulative. */
  acked(deviceId: string, seq: number): void {
    this.#log.write(EntryType.acked, deviceId, seq);
    const counts = this.#of(deviceId);
    counts.acked = Math.max(counts.acked, seq);
  }

  refused(deviceId: string, seq: number): void {
    this.#log.write(EntryType.refused, deviceId, seq);
    this.#of(deviceId).refused++;
  }

  get sentRecords(): number {
    return this.#sum(({ sent }) => sent);
  }

  get ackedRecords(): number {
    return this.#sum(({ acked, refused }) => acked - refused);
  }

  /** Compares the history with what there is now. */
  async check(places: Places): Promise<Findings> {
    this.#log.flush();
    const check = new HistoryCheck(this.#log.path);
    const { routerQueue, routerRules = KEEPS_ALL, edgeQueue, edgeRules = KEEPS_ALL } = places;
    if (places.databaseUrl !== undefined) await check.table(readRows(places.databaseUrl));
    if (routerQueue !== undefined) {
      await withBatches(routerQueue, (batches) => check.queue('router', batches, routerRules));
    }
    if (edgeQueue !== undefined) await withBatches(edgeQueue, (batches) => check.queue('edge', batches, edgeRules));
    if (places.positions !== undefined) checkSamples(places.positions, check.findings);
    if (places.shadows !== undefined) await checkShadows(check.records, places.shadows, check.findings);
    return check.findings;
  }

  /** Closes the log and removes it. */
  close(): void {
    this.#log.close();
    rmSync(this.directory, { recursive: true, force: true });
  }

  #of(deviceId: string): Counts {
    const known = this.#counts.get(deviceId);
    if (known !== undefined) return known;
    const counts = { sent: 0, acked: 0, refused: 0 };
    this.#counts.set(deviceId, counts);
    return counts;
  }

  #sum(of: (counts: Counts) => number): number {
    return [...this.#counts.values()].reduce((sum, counts) => sum + of(counts), 0);
  }
}
