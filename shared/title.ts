/** The process title: what `ps` tells an operator, as `holdfast-edge 0.1.0 :7300 devices=61364 queued=12`. */
import type { Part } from './lifecycle.js';
import { VERSION } from './version.js';

const REFRESH_MS = 1_000;

/** Keeps the title of this process up to date while it runs. */
export function showTitle(service: string, describe: () => string): Part {
  let timer: NodeJS.Timeout | undefined;
  const refresh = (): void => {
    process.title = `holdfast-${service} ${VERSION} ${describe()}`;
  };
  return {
    name: 'process title',
    start: () => {
      refresh();
      timer = setInterval(refresh, REFRESH_MS);
      return Promise.resolve();
    },
    stop: () => {
      clearInterval(timer);
      return Promise.resolve();
    },
  };
}
