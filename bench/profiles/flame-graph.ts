/**
 * Flame graphs as SVG (after Brendan Gregg's): each box is a function, as wide as the CPU that it and what it called took; its
 * callers stand below it. Drawn by hand, because that needs no library; what is narrower than a hair is left out.
 */

interface Node {
  readonly name: string;
  readonly kind: FrameKind;
  samples: number;
  readonly children: Map<string, Node>;
}

export type FrameKind = 'thread' | 'kernel' | 'javascript' | 'native';

export interface FlameFrame {
  readonly name: string;
  readonly kind: FrameKind;
}

const WIDTH = 1200;
const ROW = 16;
const TOP = 50;
const BOTTOM = 10;
const LEAST_WIDTH = 1.2;
const CHARACTER_WIDTH = 6.2;
const COLOURS: Readonly<Record<FrameKind, string>> = {
  thread: '#bbbbbb',
  kernel: '#e69f00',
  javascript: '#7cc4a0',
  native: '#8fbbe0',
};

export class FlameGraph {
  readonly #root: Node = newNode({ name: 'all', kind: 'thread' });

  /** @param frames from the root to the leaf */
  add(frames: readonly FlameFrame[]): void {
    let node = this.#root;
    node.samples++;
    for (const frame of frames) {
      const key = `${frame.kind} ${frame.name}`;
      let child = node.children.get(key);
      if (child === undefined) {
        child = newNode(frame);
        node.children.set(key, child);
      }
      child.samples++;
      node = child;
    }
  }

  /** @returns an SVG document */
  draw(title: string, subtitle: string): string {
    const boxes: string[] = [];
    const scale = WIDTH / Math.max(1, this.#root.samples);
    const depth = depthOf(this.#root, scale);
    const height = TOP + depth * ROW + BOTTOM;
    let at = 0;
    for (const child of widestFirst(this.#root)) {
      this.#box(boxes, child, at, height - BOTTOM, scale);
      at += child.samples * scale;
    }
    return [
      `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}">`,
      '<style>text{font:10.5px monospace;fill:#222}.title{font:600 15px sans-serif}.note{font:11px sans-serif;fill:#666}',
      'rect{stroke:#fff;stroke-width:.5}.paper{fill:#fff}',
      ...Object.entries(COLOURS).map(([kind, colour]) => `.${kind}{fill:${colour}}`),
      '</style>',
      `<rect class="paper" width="${WIDTH}" height="${height}"/>`,
      `<text class="title" x="10" y="20">${escape(title)}</text>`,
      `<text class="note" x="10" y="38">${escape(subtitle)}</text>`,
      ...boxes,
      '</svg>\n',
    ].join('\n');
  }

  #box(boxes: string[], node: Node, left: number, bottom: number, scale: number): void {
    const width = node.samples * scale;
    if (width < LEAST_WIDTH) return;
    const top = bottom - ROW;
    const percent = ((100 * node.samples) / this.#root.samples).toFixed(1);
    const letters = Math.floor((width - 4) / CHARACTER_WIDTH);
    const label = node.name.length <= letters ? node.name : `${node.name.slice(0, Math.max(0, letters - 1))}…`;
    boxes.push(
      `<g><title>${escape(node.name)} ${percent} %</title>` +
        `<rect class="${node.kind}" x="${left.toFixed(1)}" y="${top}" width="${width.toFixed(1)}" height="${ROW}"/>` +
        (letters < 3 ? '' : `<text x="${(left + 2).toFixed(1)}" y="${top + 12}">${escape(label)}</text>`) +
        '</g>',
    );
    let at = left;
    for (const child of widestFirst(node)) {
      this.#box(boxes, child, at, top, scale);
      at += child.samples * scale;
    }
  }
}

function newNode({ name, kind }: FlameFrame): Node {
  return { name, kind, samples: 0, children: new Map() };
}

function widestFirst(node: Node): Node[] {
  return [...node.children.values()].sort((a, b) => b.samples - a.samples);
}

/** Rows that are drawn above a node. */
function depthOf(node: Node, scale: number): number {
  const children = [...node.children.values()].filter(({ samples }) => samples * scale >= LEAST_WIDTH);
  return children.length === 0 ? 0 : 1 + Math.max(...children.map((child) => depthOf(child, scale)));
}

function escape(words: string): string {
  return words.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
