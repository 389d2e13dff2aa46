/** The report of a burst: burst.md for people, burst.json for programs, burst.svg with what happened over time. */
import { mkdir, writeFile } from 'node:fs/promises';
import { cpus, totalmem } from 'node:os';
import { join } from 'node:path';
import { drawLineCharts, type LineChart } from '../../shared/line-chart.js';
import { VERSION } from '../../shared/version.js';
import type { Findings, Target } from './burst-findings.js';
import type { BurstPoint } from './burst-sampler.js';
import type { BurstRun } from './burst.js';

export interface ReportExtras {
  /** Keys of services that were set; empty where the pipeline is not the burst's own. */
  readonly settings: Readonly<Record<string, string>>;
  /** Processes that wanted a core in the minute before it began: over 0, it was not alone. */
  readonly loadBefore: number;
  /** What whoever ran it has to say of the circumstances. */
  readonly note: string | undefined;
}

/** Writes the three files. @returns the path of burst.md */
export async function writeReport(
  directory: string,
  run: BurstRun,
  findings: Findings,
  extras: ReportExtras,
): Promise<string> {
  await mkdir(directory, { recursive: true });
  const { sampler, options, ...rest } = run;
  const { deviceSecret, ...fleet } = options;
  const json = {
    version: VERSION,
    machine: machine(),
    ...extras,
    fleet,
    withTokens: deviceSecret !== undefined,
    ...rest,
    findings,
    edgeRefused: sampler.refusals,
    points: sampler.points,
  };
  await writeFile(join(directory, 'burst.json'), `${JSON.stringify(json, null, 1)}\n`);
  await writeFile(join(directory, 'burst.svg'), drawLineCharts(charts(run)));
  const path = join(directory, 'burst.md');
  await writeFile(path, describe(run, findings, extras));
  return path;
}

/** @returns the targets as lines of text */
export function describeTargets(targets: readonly Target[]): string {
  return targets
    .map(({ what, target, found, met }) => `${met ? 'met   ' : 'MISSED'}  ${what}: ${found} (${target})\n`)
    .join('');
}

function describe(run: BurstRun, findings: Findings, { settings, note, loadBefore }: ReportExtras): string {
  const { options, marks, backlog, counters, verification, sampler } = run;
  const refusals = Object.entries(sampler.refusals).map(([reason, count]) => `${reason} ${count}`);
  const set = Object.entries(settings).map(([key, value]) => `${key}=${value}`);
  return `# Burst

${options.devices} devices, a record each ${options.intervalMs} ms of ${options.payloadBytes} bytes, ${options.protocol}; the network away for
${(marks.online - marks.offline).toFixed(0)} s; ${backlog} records kept when it came back.

${note === undefined ? '' : `${note}\n\n`}| | target | found | |
| --- | --- | --- | --- |
${findings.targets.map(({ what, target, found, met }) => `| ${what} | ${target} | ${found} | ${met ? 'met' : '**MISSED**'} |`).join('\n')}

![Over time](burst.svg)

- Machine: ${machine()}. Fleet and pipeline share it; its load average before the run was ${loadBefore.toFixed(1)}. Holdfast ${VERSION}, Node ${process.version}.
- Settings of services beside their defaults: ${set.length === 0 ? 'none known' : set.join(', ')}.
- Made ${counters.made}, acked ${counters.acked}, sent ${counters.sent} (${counters.resent} again), refused ${counters.refused}, given up ${counters.dropped}.
- Reconnects ${counters.reconnects}; sent away with a time to come back ${counters.sentAway} times; broken ${counters.broken}.
- Refused by the edge since its start: ${refusals.length === 0 ? 'nothing' : refusals.join(', ')}.
- Deepest queues: edge ${findings.deepestEdgeQueue}, router ${findings.deepestRouterQueue} records.
- Verified: ${verification.acked} acked records looked for, ${verification.rows} rows of this fleet; storage had them all ${(verification.waitedMs / 1000).toFixed(1)} s after the fleet had ended.
${[...sampler.troubles].map((trouble) => `- Not answered in time: ${trouble}\n`).join('')}`;
}

function charts({ marks, sampler: { points } }: BurstRun): readonly LineChart[] {
  const moments = [
    { x: marks.offline, label: 'network away' },
    { x: marks.online, label: 'back' },
    ...(marks.flushed === undefined ? [] : [{ x: marks.flushed, label: 'flushed' }]),
  ];
  const series = (name: string, value: (point: BurstPoint) => number | undefined): LineChart['series'][number] => ({
    name,
    points: points.map((point) => [point.seconds, value(point)] as const),
  });
  const common = { xLabel: 'seconds', marks: moments };
  return [
    {
      ...common,
      title: 'Records a second',
      yLabel: 'records/s',
      series: [rates(points, 'sent'), rates(points, 'acked'), rates(points, 'stored')],
    },
    {
      ...common,
      title: 'Records that wait',
      yLabel: 'records',
      series: [
        series('in devices', ({ buffered }) => buffered),
        series("in the edge's queue", ({ edgeQueue }) => edgeQueue),
        series("in the router's queue", ({ routerQueue }) => routerQueue),
      ],
    },
    {
      ...common,
      title: 'Acks',
      yLabel: 'ms',
      isLogarithmic: true,
      series: [series('p50', ({ ackP50Ms }) => ackP50Ms), series('p99', ({ ackP99Ms }) => ackP99Ms)],
    },
    {
      ...common,
      title: "The edge's resident memory",
      yLabel: 'MB',
      series: [series('resident', ({ edgeResidentBytes: bytes }) => (bytes === undefined ? undefined : bytes / 1e6))],
    },
  ];
}

/** Between each point and the one before. */
function rates(points: readonly BurstPoint[], name: 'sent' | 'acked' | 'stored'): LineChart['series'][number] {
  const values = points.slice(1).map((point, index) => {
    const before = points[index]!;
    const [now, then] = [point[name], before[name]];
    const rate = now === undefined || then === undefined ? undefined : (now - then) / (point.seconds - before.seconds);
    return [point.seconds, rate] as const;
  });
  return { name, points: values };
}

function machine(): string {
  const list = cpus();
  return `${list.length} × ${list[0]?.model ?? 'unknown CPU'}, ${(totalmem() / 2 ** 30).toFixed(0)} GiB, ${process.platform}`;
}
