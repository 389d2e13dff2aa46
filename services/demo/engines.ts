/** The engines of the demo and their rows of C-MAPSS FD001 (bench/data/README.md has the columns). */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { packagePath } from '../../shared/paths.js';

/** Where the engines of a fleet stand. */
export interface Site {
  readonly name: string;
  readonly latitude: number;
  readonly longitude: number;
}

export interface Engine {
  readonly id: string;
  readonly site: Site;
  /** The data of its records in order, JSON in UTF-8. */
  readonly rows: readonly Buffer[];
}

export const ENGINE_TYPE = 'turbofan';

const SITES: readonly Site[] = [
  { name: 'hamburg', latitude: 53.5354, longitude: 9.8355 },
  { name: 'toulouse', latitude: 43.6293, longitude: 1.3638 },
  { name: 'seattle', latitude: 47.5299, longitude: -122.3019 },
];
const ENGINES_PER_SITE = 30;

const SETTINGS = 3;
const SENSORS = [
  'T2',
  'T24',
  'T30',
  'T50',
  'P2',
  'P15',
  'P30',
  'Nf',
  'Nc',
  'epr',
  'Ps30',
  'phi',
  'NRf',
  'NRc',
  'BPR',
  'farB',
  'htBleed',
  'Nf_dmd',
  'PCNfR_dmd',
  'W31',
  'W32',
] as const;

/** The 90 engines with all their rows, about 7 MB. */
export function readEngines(): Engine[] {
  const text = gunzipSync(readFileSync(packagePath('bench', 'data', 'train_FD001.txt.gz'))).toString('latin1');
  const rows = new Map<number, Buffer[]>();
  for (const line of text.split('\n')) {
    if (line.trim() === '') continue;
    const [unit, ...values] = line.trim().split(/\s+/).map(Number);
    const engine = rows.get(unit!);
    if (engine === undefined) rows.set(unit!, [encodeRow(values)]);
    else engine.push(encodeRow(values));
  }
  return [...rows].map(([unit, data]) => {
    const site = SITES[Math.floor((unit - 1) / ENGINES_PER_SITE) % SITES.length]!;
    return { id: `engine-${unit}`, site, rows: data };
  });
}

/** @param values the columns of a row after the engine's number */
function encodeRow([cycle, ...values]: readonly number[]): Buffer {
  const sensors = Object.fromEntries(SENSORS.map((name, index) => [name, values[SETTINGS + index]]));
  return Buffer.from(JSON.stringify({ cycle, settings: values.slice(0, SETTINGS), sensors }));
}
