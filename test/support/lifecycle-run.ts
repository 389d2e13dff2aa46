/**
 * A process with the life of a service: `node lifecycle-run.js NAME[:start-ms[:stop-ms]]… [--deadline MS] [--fail HOW]`.
 * Each part writes what happens to it. HOW: `start` (the last part), `config`, `stop` (the first part), `throw`, `reject`.
 */
import { writeSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { setTimeout as sleep } from 'node:timers/promises';
import { HoldfastError } from '../../shared/errors.js';
import { runService, type Part } from '../../shared/lifecycle.js';
import { createLogger } from '../../shared/log.js';

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { deadline: { type: 'string', default: '5000' }, fail: { type: 'string', default: '' } },
});

function say(text: string): void {
  writeSync(1, `${text}\n`);
}

const parts = positionals.map((word, index): Part => {
  const [name, startMs = '0', stopMs = '0'] = word.split(':') as [string, string?, string?];
  return {
    name,
    start: async () => {
      say(`starting ${name}`);
      await sleep(Number(startMs));
      if (values.fail === 'config') throw new HoldfastError('bad_config', 'the key is wrong', false);
      if (values.fail === 'start' && index === positionals.length - 1) throw new Error('the port is taken');
      say(`started ${name}`);
    },
    stop: async () => {
      say(`stopping ${name}`);
      await sleep(Number(stopMs));
      if (values.fail === 'stop' && index === 0) throw new Error('it is stuck');
      say(`stopped ${name}`);
    },
  };
});

// Keeps the process, as a service's sockets would.
setInterval(() => undefined, 1_000);
await runService(createLogger('test'), [...parts, { name: 'without start and stop' }], Number(values.deadline));
say('up');
if (values.fail === 'throw') setTimeout(() => failHere(), 1);
if (values.fail === 'reject') void Promise.reject(new Error('nobody caught this'));

function failHere(): never {
  throw new Error('nobody caught this');
}
