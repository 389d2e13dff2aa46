/** A bar chart as SVG: a bar a side with its number beside it. Plain enough for every viewer, light and dark. */
import { formatNumber } from './results.js';

export interface Bar {
  readonly label: string;
  readonly value: number;
  /** A remark below the label. */
  readonly note?: string;
}

const WIDTH = 860;
const LABEL_WIDTH = 300;
const NUMBER_WIDTH = 130;
const ROW_HEIGHT = 44;
const BAR_HEIGHT = 22;
const TOP = 46;

/** @param unit stands in the title */
export function barChart(title: string, unit: string, bars: readonly Bar[]): string {
  const height = TOP + bars.length * ROW_HEIGHT + 10;
  const most = Math.max(...bars.map(({ value }) => value), Number.MIN_VALUE);
  const scale = (WIDTH - LABEL_WIDTH - NUMBER_WIDTH) / most;
  const rows = bars.map(({ label, value, note }, index) => {
    const top = TOP + index * ROW_HEIGHT;
    const end = LABEL_WIDTH + Math.max(1, value * scale);
    return [
      text(LABEL_WIDTH - 10, top + 12, label, 'text-anchor="end"'),
      ...(note === undefined ? [] : [text(LABEL_WIDTH - 10, top + 28, note, 'text-anchor="end" class="note"')]),
      `<rect x="${LABEL_WIDTH}" y="${top}" width="${(end - LABEL_WIDTH).toFixed(1)}" height="${BAR_HEIGHT}" rx="2"/>`,
      text(end + 8, top + 15, formatNumber(value), 'class="number"'),
    ].join('\n');
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}">`,
    '<style>text{font:14px sans-serif;fill:#444}.note{font-size:11px;fill:#777}.number{font-weight:600}',
    '.title{font-size:16px;font-weight:600}rect{fill:#2f7ed8}.paper{fill:#fff}</style>',
    `<rect class="paper" width="${WIDTH}" height="${height}"/>`,
    text(10, 24, `${title}, ${unit}`, 'class="title"'),
    ...rows,
    '</svg>\n',
  ].join('\n');
}

function text(x: number, y: number, words: string, attributes: string): string {
  const escaped = words.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
  return `<text x="${x.toFixed(1)}" y="${y}" ${attributes}>${escaped}</text>`;
}
