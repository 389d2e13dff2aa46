import { test } from 'tap';
import { FlameGraph } from './flame-graph.js';
import { groupOf, threadNames } from './groups.js';
import { readSamples } from './samples.js';

const TEXT = `
holdfast-edge 0 9040/9040
\tffffffff82020354 tcp_rcv_established.isra.0 ([kernel.kallsyms])
\tffffffff81f0a1b2 __sys_sendto ([kernel.kallsyms])
\t    7f0000001234 uWS::AsyncSocket<false>::write(char const*, int, bool) (/somewhere/node_modules/uws_linux_x64_115.node)

holdfast-edge 0 9040/9040
\t    7f00ab340000 JS:*take file:///home/x/dist/services/edge/ingest.js:46:9 (/tmp/perf-9040.map)
\t         12345 v8::internal::(anonymous namespace)::Invoke(v8::internal::Isolate*, std::vector<int>) (/usr/bin/node)

node 9040/9048
\t    7f0000004321 mdb_midl_insert (/somewhere/node.abi115.glibc.node)
`;

const samples = [...readSamples(TEXT)];

void test('what perf prints is read, with names that say nothing of the machine', (t) => {
  t.same(
    samples.map(({ command, pid, tid }) => [command, pid, tid]),
    [
      ['holdfast-edge 0', 9040, 9040],
      ['holdfast-edge 0', 9040, 9040],
      ['node', 9040, 9048],
    ],
  );
  t.same(
    samples.map(({ frames }) => frames.map(({ name }) => name)),
    [
      ['tcp_rcv_established', '__sys_sendto', 'uWS::AsyncSocket::write'],
      ['take services/edge/ingest.js', 'v8::internal::Invoke'],
      ['mdb_midl_insert'],
    ],
  );
  t.end();
});

void test('samples are grouped by what was going on, threads named by what they do', (t) => {
  t.same(samples.map(groupOf), ['kernel: TCP send, loopback included', 'JavaScript', 'LMDB']);
  t.same(
    [...threadNames(samples)],
    [
      [9040, 'main thread'],
      [9048, 'commit threads'],
    ],
  );
  t.end();
});

void test('a line that is neither thread nor frame fails loudly', (t) => {
  t.throws(() => [...readSamples('perf: something else\n')], /which is no thread/);
  t.throws(() => [...readSamples('node 1/1\n\tno frame\n')], /which is no frame/);
  t.end();
});

void test('a flame graph has a box for each function, as wide as its share, and markup in names is text', (t) => {
  const flame = new FlameGraph();
  const main = { name: 'main', kind: 'thread' } as const;
  for (let i = 0; i < 3; i++) flame.add([main, { name: 'operator<', kind: 'native' }]);
  flame.add([main]);
  const svg = flame.draw('title', 'subtitle');
  t.match(svg, /<title>main 100\.0 %<\/title><rect class="thread" x="0\.0" y="\d+" width="1200\.0"/);
  t.match(svg, /<title>operator&lt; 75\.0 %<\/title><rect class="native" x="0\.0" y="\d+" width="900\.0"/);
  t.end();
});
