/**
 * What is wrong with Grafana's boards, as far as it shows without Grafana: what a board names has to be there, and panels must not
 * lie on each other, because Grafana would show an error, an empty panel or a moved one, and say nothing when it starts.
 */
interface Source {
  readonly type: string;
  readonly uid: string;
}

interface Rectangle {
  readonly x: number;
  readonly y: number;
  readonly w: number;
  readonly h: number;
}

export interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly gridPos: Rectangle;
  readonly datasource?: Source;
  readonly fieldConfig?: { readonly defaults: { readonly unit?: string } };
  readonly targets?: readonly { readonly refId: string; readonly datasource: Source }[];
}

export interface Board {
  readonly uid: string;
  readonly title: string;
  readonly templating: { readonly list: readonly { readonly name: string; readonly datasource: Source }[] };
  readonly panels: readonly Panel[];
}

/** The columns of a board. */
const COLUMNS = 24;
/** Of the panels that come with Grafana those that are used here. */
const PANEL_TYPES = ['row', 'timeseries', 'table', 'geomap'];
/** Ids of Grafana's units, those that are used here; it shows others as a suffix. */
const UNITS = ['short', 'ops', 'pps', 'bytes', 'Bps', 's', 'percentunit'];

/** @param sources the provisioned datasources */
export function problemsOfBoards(boards: readonly Board[], sources: readonly Source[]): string[] {
  const twice = repeated(boards.map(({ uid }) => uid)).map((uid) => `two boards have the uid ${uid}`);
  return [...twice, ...boards.flatMap((board) => problemsOfBoard(board, sources))];
}

function problemsOfBoard({ title, templating, panels }: Board, sources: readonly Source[]): string[] {
  const names = templating.list.map(({ name }) => name);
  const problems = [
    ...repeated(panels.map(({ id }) => String(id))).map((id) => `two panels have the id ${id}`),
    ...templating.list.flatMap(({ name, datasource }) => problemsOfSource(name, datasource, sources)),
    ...panels.flatMap((panel) => problemsOfPanel(panel, names, sources)),
    ...panels.flatMap((one, index) =>
      panels
        .slice(index + 1)
        .filter((other) => overlaps(one.gridPos, other.gridPos))
        .map((other) => `${one.title} lies on ${other.title}`),
    ),
  ];
  return problems.map((problem) => `${title}: ${problem}`);
}

function problemsOfPanel(panel: Panel, variables: readonly string[], sources: readonly Source[]): string[] {
  const { type, title, gridPos, datasource, targets = [], fieldConfig } = panel;
  const problems: string[] = [];
  if (!PANEL_TYPES.includes(type)) problems.push(`${title} is of the unknown type ${type}`);
  const unit = fieldConfig?.defaults.unit;
  if (unit !== undefined && !UNITS.includes(unit)) problems.push(`${title} has the unknown unit ${unit}`);
  if (gridPos.x < 0 || gridPos.x + gridPos.w > COLUMNS) problems.push(`${title} is wider than the board`);
  if ((type === 'row') !== (targets.length === 0)) problems.push(`${title} asks for ${targets.length} things`);
  problems.push(...repeated(targets.map(({ refId }) => refId)).map((refId) => `${title} has two targets ${refId}`));
  for (const source of [datasource, ...targets.map((target) => target.datasource)]) {
    if (type !== 'row') problems.push(...problemsOfSource(title, source, sources));
  }
  // Grafana's own variables and macros begin with two underscores.
  for (const [, name] of JSON.stringify(panel).matchAll(/\$\{?(\w+)/g)) {
    if (!name!.startsWith('__') && !variables.includes(name!))
      problems.push(`${title} uses the unknown variable ${name!}`);
  }
  return problems;
}

function problemsOfSource(name: string, source: Source | undefined, sources: readonly Source[]): string[] {
  const isThere = sources.some(({ uid, type }) => uid === source?.uid && type === source.type);
  return isThere ? [] : [`${name} asks ${source?.type ?? 'nothing'} ${source?.uid ?? ''}, which is not provisioned`];
}

function overlaps(one: Rectangle, other: Rectangle): boolean {
  const beside = one.x + one.w <= other.x || other.x + other.w <= one.x;
  const above = one.y + one.h <= other.y || other.y + other.h <= one.y;
  return !beside && !above;
}

function repeated(values: readonly string[]): string[] {
  return values.filter((value, index) => values.indexOf(value) !== index);
}
