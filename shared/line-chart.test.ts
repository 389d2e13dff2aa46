import { test } from 'tap';
import { drawLineCharts, type LineChart } from './line-chart.js';

const CHART: LineChart = {
  title: 'Records & <more>',
  xLabel: 'seconds',
  yLabel: 'records/s',
  series: [
    {
      name: 'sent',
      points: [
        [0, 0],
        [1, 40_000],
        [2, undefined],
        [3, 20_000],
      ],
    },
    { name: 'acked', points: [] },
  ],
  marks: [{ x: 2, label: 'back' }],
};

void test('a chart is SVG with its titles, a line a series, gaps where there is nothing, and its marks', (t) => {
  const svg = drawLineCharts([CHART, { ...CHART, title: 'Acks', isLogarithmic: true }]);
  t.match(svg, /^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg" width="960" height="600"/);
  t.match(svg, 'Records &amp; &lt;more&gt;');
  t.match(svg, '>back</text>');
  t.match(svg, '>40 k</text>');
  const paths = [...svg.matchAll(/<path d="([^"]*)"/g)].map(([, path]) => path!);
  for (const [tag] of svg.matchAll(/<[a-z][^>]*>/g)) {
    const names = [...tag.matchAll(/ ([a-z-]+\d?)="/g)].map(([, name]) => name);
    t.equal(new Set(names).size, names.length, `an attribute twice is no XML: ${tag}`);
  }
  t.equal(paths.length, 4);
  t.match(paths[0], /^M[\d. ]+L[\d. ]+M[\d. ]+$/);
  t.equal(paths[1], '');
  t.match(paths[2], /^M[\d. ]+M[\d. ]+$/, 'what is not over 0 is a gap on a logarithmic axis');
  t.notMatch(svg, /NaN|undefined|Infinity/);
  t.end();
});

void test('a chart of nothing, of one point and of zeros is a chart', (t) => {
  for (const points of [
    [],
    [[5, 7]],
    [
      [0, 0],
      [1, 0],
    ],
  ] as const) {
    for (const isLogarithmic of [false, true]) {
      const svg = drawLineCharts([
        { ...CHART, isLogarithmic, marks: [], series: [{ name: 'a', points: [...points] }] },
      ]);
      t.notMatch(svg, /NaN|undefined|Infinity/);
    }
  }
  t.end();
});
