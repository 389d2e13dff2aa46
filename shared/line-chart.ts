/**
 * Line charts as SVG, for reports: a few series over one x axis, drawn by hand because that needs no library, and readable
 * on a light and on a dark page because it brings its own background. Charts stand one above the other in one file and share
 * nothing but their width.
 */

export interface ChartSeries {
  readonly name: string;
  /** In rising x; undefined y: the line has a gap there. */
  readonly points: readonly (readonly [x: number, y: number | undefined])[];
}

/** A moment that is marked by a vertical line. */
export interface ChartMark {
  readonly x: number;
  readonly label: string;
}

export interface LineChart {
  readonly title: string;
  readonly xLabel: string;
  readonly yLabel: string;
  readonly series: readonly ChartSeries[];
  readonly marks?: readonly ChartMark[];
  /** Logarithmic: what is not over 0 is a gap then. */
  readonly isLogarithmic?: boolean;
}

const WIDTH = 960;
const HEIGHT = 300;
const LEFT = 70;
const RIGHT = 20;
const TOP = 46;
const BOTTOM = 44;
const TICKS = 5;
/** Okabe and Ito's colours, which colour-blind readers can tell apart. */
const COLOURS = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9'];

/** @returns an SVG document with the charts one above the other */
export function drawLineCharts(charts: readonly LineChart[]): string {
  const height = HEIGHT * charts.length;
  const parts = charts.map((chart, index) => `<g transform="translate(0 ${index * HEIGHT})">${drawChart(chart)}</g>`);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="12">`,
    `<rect width="${WIDTH}" height="${height}" fill="#ffffff"/>`,
    ...parts,
    '</svg>\n',
  ].join('\n');
}

/** How values become places on the paper. */
interface Axis {
  readonly ticks: readonly number[];
  place(value: number): number;
}

function drawChart(chart: LineChart): string {
  const marks = chart.marks ?? [];
  const xs = [...chart.series.flatMap(({ points }) => points.map(([x]) => x)), ...marks.map(({ x }) => x)];
  const ys = chart.series
    .flatMap(({ points }) => points.map(([, y]) => y))
    .filter((y) => y !== undefined && (chart.isLogarithmic !== true || y > 0)) as number[];
  const x = linearAxis(Math.min(...xs, 0), Math.max(...xs, 1), LEFT, WIDTH - RIGHT);
  const y = yAxis(ys, chart.isLogarithmic === true);
  return [
    text(LEFT, 18, chart.title, 'font-weight="bold" font-size="14"'),
    ...drawGrid(x, y),
    text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, chart.xLabel, 'text-anchor="middle"'),
    text(14, HEIGHT / 2, chart.yLabel, `text-anchor="middle" transform="rotate(-90 14 ${HEIGHT / 2})"`),
    ...marks.map((mark) => drawMark(x.place(mark.x), mark.label)),
    ...chart.series.map((series, index) => drawSeries(series, index, x, y, chart.isLogarithmic === true)),
    ...chart.series.map((series, index) => drawLegend(series.name, index)),
  ].join('\n');
}

function yAxis(values: readonly number[], isLogarithmic: boolean): Axis {
  const bottom = HEIGHT - BOTTOM;
  if (!isLogarithmic) return linearAxis(0, Math.max(...values, 1), bottom, TOP);
  const low = Math.floor(Math.log10(Math.min(...values, 1)));
  const high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(...values, 1))));
  const ticks = Array.from({ length: high - low + 1 }, (_, index) => 10 ** (low + index));
  return { ticks, place: (value) => bottom + ((TOP - bottom) * (Math.log10(value) - low)) / (high - low) };
}

function linearAxis(low: number, high: number, from: number, to: number): Axis {
  const step = niceStep((high - low) / TICKS);
  const last = Math.ceil(high / step) * step;
  const first = Math.floor(low / step) * step;
  const ticks = Array.from({ length: Math.round((last - first) / step) + 1 }, (_, index) => first + index * step);
  return { ticks, place: (value) => from + ((to - from) * (value - first)) / (last - first) };
}

/** 1, 2 or 5 times a power of ten, at least as large as asked. */
function niceStep(least: number): number {
  const power = 10 ** Math.floor(Math.log10(least));
  return power * ([1, 2, 5].find((factor) => factor * power >= least) ?? 10);
}

function drawGrid(x: Axis, y: Axis): string[] {
  const bottom = HEIGHT - BOTTOM;
  return [
    ...y.ticks.map((tick) => line(LEFT, y.place(tick), WIDTH - RIGHT, y.place(tick), 'stroke="#dddddd"')),
    ...y.ticks.map((tick) => text(LEFT - 6, y.place(tick) + 4, formatTick(tick), 'text-anchor="end"')),
    ...x.ticks.map((tick) => text(x.place(tick), bottom + 16, formatTick(tick), 'text-anchor="middle"')),
    line(LEFT, bottom, WIDTH - RIGHT, bottom, 'stroke="#333333"'),
  ];
}

function drawMark(x: number, label: string): string {
  const dashes = 'stroke="#888888" stroke-dasharray="4 3"';
  return line(x, TOP, x, HEIGHT - BOTTOM, dashes) + text(x + 3, TOP + 10, label, 'font-size="11"', '#666666');
}

function drawSeries({ points }: ChartSeries, index: number, x: Axis, y: Axis, isLogarithmic: boolean): string {
  let path = '';
  let isGap = true;
  for (const [at, value] of points) {
    if (value === undefined || (isLogarithmic && value <= 0)) {
      isGap = true;
      continue;
    }
    path += `${isGap ? 'M' : 'L'}${rounded(x.place(at))} ${rounded(y.place(value))}`;
    isGap = false;
  }
  return `<path d="${path}" fill="none" stroke="${colour(index)}" stroke-width="1.5"/>`;
}

function drawLegend(name: string, index: number): string {
  const x = LEFT + index * 150;
  return line(x, 32, x + 18, 32, `stroke="${colour(index)}" stroke-width="3"`) + text(x + 24, 36, name, '');
}

function colour(index: number): string {
  return COLOURS[index % COLOURS.length]!;
}

function line(x1: number, y1: number, x2: number, y2: number, attributes: string): string {
  return `<line x1="${rounded(x1)}" y1="${rounded(y1)}" x2="${rounded(x2)}" y2="${rounded(y2)}" ${attributes}/>`;
}

function text(x: number, y: number, content: string, attributes: string, fill = '#222222'): string {
  return `<text x="${rounded(x)}" y="${rounded(y)}" fill="${fill}" ${attributes}>${escaped(content)}</text>`;
}

function escaped(content: string): string {
  return content.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');
}

function formatTick(value: number): string {
  if (Math.abs(value) >= 1e6) return `${rounded(value / 1e6)} M`;
  return Math.abs(value) >= 1e4 ? `${rounded(value / 1e3)} k` : String(rounded(value));
}

function rounded(value: number): number {
  return Math.round(value * 100) / 100;
}
