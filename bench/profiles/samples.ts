/**
 * What `perf script -F comm,pid,tid,ip,sym,dso` prints, taken apart:
 *
 *   <command> <pid>/<tid>
 *           <address> <symbol> (<file>)       the leaf
 *           …                                 its caller, and so on; an empty line ends the sample
 */

export interface Frame {
  /** Without arguments, addresses and the paths of this machine. */
  readonly name: string;
  /** The file it is from; `[kernel]` for the kernel. */
  readonly file: string;
}

export interface Sample {
  /** The thread's name, which is the process's own but where the thread took another. */
  readonly command: string;
  readonly pid: number;
  readonly tid: number;
  /** From the leaf to its callers. */
  readonly frames: readonly Frame[];
}

/** @throws Error on a line that is none of these */
export function* readSamples(text: string): Generator<Sample> {
  for (const block of text.split(/\n\s*\n/)) {
    const [head, ...rest] = block.split('\n').filter((line) => line.trim() !== '');
    if (head === undefined) continue;
    const match = /^\s*(.*?)\s+(\d+)\/(\d+)\s*$/.exec(head);
    if (match === null) throw new Error(`perf script says ${JSON.stringify(head)}, which is no thread`);
    const frames = rest.map(readFrame);
    if (frames.length > 0) yield { command: match[1]!, pid: Number(match[2]), tid: Number(match[3]), frames };
  }
}

function readFrame(line: string): Frame {
  const match = /^\s*[0-9a-f]+\s+(.*)\s+\((.*)\)\s*$/.exec(line);
  if (match === null) throw new Error(`perf script says ${JSON.stringify(line)}, which is no frame`);
  const file = match[2]!;
  return {
    name: shortName(match[1]!),
    file: file.startsWith('[kernel') ? '[kernel]' : (file.split('/').at(-1) ?? file),
  };
}

/** `JS:*take file:///…/dist/services/edge/ingest.js:46:9` is `take services/edge/ingest.js`. */
function shortName(symbol: string): string {
  const script = /^(?:JS|Function|LazyCompile|Eval|Script):[~^*+]?(\S*) ?(\S*?)(?::\d+)*$/.exec(symbol);
  if (script !== null) {
    const path = script[2]!.replace(/^file:\/\//, '').replace(/^.*\/(?:dist|node_modules)\//, '');
    return `${script[1] === '' ? '(anonymous)' : script[1]!} ${path}`.trim();
  }
  return withoutArguments(symbol).replace(/\.(?:isra|constprop|part)\.\d+/g, '');
}

/** A C++ function by its name: what is in brackets says more than anybody reads. */
function withoutArguments(symbol: string): string {
  let name = symbol.replaceAll('(anonymous namespace)::', '');
  for (let last = ''; last !== name;) {
    last = name;
    name = name
      .replace(/<[^<>]*>/g, '')
      .replace(/\([^()]*\)/g, '')
      .replace(/\{[^{}]*\}/g, '');
  }
  return (
    name
      .replace(/\[clone.*$/, '')
      .replace(/ const$/, '')
      .trim() || symbol
  );
}
