import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'tap';
import { parse } from 'yaml';
import { packagePath } from '../shared/paths.js';
import { problemsOfBoards, type Board } from './support/deploy/boards.js';

const FOLDER = packagePath('k8s', 'monitoring');
const { datasources } = parse(readFileSync(`${FOLDER}/grafana/datasources.yaml`, 'utf8')) as {
  readonly datasources: readonly { readonly type: string; readonly uid: string }[];
};
const TEXTS = readdirSync(`${FOLDER}/dashboards`).map((name) => readFileSync(`${FOLDER}/dashboards/${name}`, 'utf8'));

/** The boards as anybody may change them. */
function read(): Board[] {
  return TEXTS.map((text) => JSON.parse(text) as Board);
}

void test('what the boards name is there, and no panel lies on another', (t) => {
  t.strictSame(problemsOfBoards(read(), datasources), []);
  t.strictSame(
    read().map(({ title }) => title),
    ['Fleet', 'Pipeline'],
  );
  t.end();
});

/** [what is done to a panel of Fleet or Pipeline, what is said]. */
const faults: readonly (readonly [board: number, panel: number, change: object, problem: RegExp])[] = [
  [0, 1, { id: 1 }, /Fleet: two panels have the id 1/],
  [0, 0, { type: 'worldmap' }, /Devices is of the unknown type worldmap/],
  [0, 0, { datasource: { type: 'postgres', uid: 'postgres' } }, /asks postgres postgres, which is not provisioned/],
  [0, 3, { title: 'Readings of ${thing}' }, /uses the unknown variable thing/],
  [0, 2, { gridPos: { x: 0, y: 13, w: 24, h: 9 } }, /Devices lies on Newest readings/],
  [1, 1, { fieldConfig: { defaults: { unit: 'op/s' } } }, /Pipeline: Records in has the unknown unit op\/s/],
  [1, 3, { gridPos: { x: 17, y: 1, w: 8, h: 8 } }, /Bytes in is wider than the board/],
  [1, 1, { targets: [] }, /Records in asks for 0 things/],
  [1, 1, { targets: [{ refId: 'A' }, { refId: 'A' }] }, /Records in has two targets A/],
];

void test('every fault that is planted in the boards is found', (t) => {
  for (const [board, panel, change, problem] of faults) {
    const boards = read();
    Object.assign(boards[board]!.panels[panel]!, change);
    t.match(problemsOfBoards(boards, datasources).join('\n'), problem);
  }
  t.match(problemsOfBoards([read()[0]!, read()[0]!], datasources), ['two boards have the uid holdfast-fleet']);
  t.end();
});
