/** The part `shadow`: reports a second, memory, size and start of the service that keeps shadows. */
import type { BenchContext } from './context.js';
import { findPinning } from './pinning.js';
import { describeRedis, redisVersion, REDIS_EVERY_SECOND } from './peers/redis.js';
import { RowCollector, type PartResult, type Verdict } from './results.js';
import { measureApply, PIPELINES, SETS_A_PIPELINE } from './shadow-apply.js';
import { CHANGES, measureDownlink } from './shadow-latency.js';
import { measureMemory } from './shadow-memory.js';
import { DEVICES, reportOf, REPORTS } from './shadow-reports.js';
import { measureSize, STORED_THINGS } from './shadow-size.js';

/** The part `shadow`. */
export async function benchShadow(context: BenchContext): Promise<PartResult> {
  const rows = new RowCollector();
  const pinning = findPinning();
  const hasRedis = (await redisVersion()) !== undefined;
  const verdicts: Verdict[] = [];
  verdicts.push(...(await measureApply(context, rows, pinning, hasRedis)));
  await measureDownlink(context, rows, hasRedis);
  verdicts.push(await measureMemory(context, rows));
  verdicts.push(...(await measureSize(context, rows, hasRedis)));
  return {
    part: 'shadow',
    method:
      'Reports that the real engine applies on one core until they are in the store, beside JSON.parse and SET of as many, in turn.',
    settings: {
      rounds: context.options.rounds,
      devices: DEVICES,
      reports: REPORTS,
      'payload bytes': reportOf(0, 0).length,
      cores: pinning.about,
      shadow: 'its defaults',
      redis: describeRedis(REDIS_EVERY_SECOND),
      'desired changes': CHANGES,
      'things in a store': STORED_THINGS,
      'SETs a pipeline': SETS_A_PIPELINE,
      'pipelines under way': PIPELINES,
    },
    rows: rows.rows,
    verdicts,
    notes: hasRedis ? [] : ['There is no redis-server on the PATH: its sides were not measured.'],
  };
}
