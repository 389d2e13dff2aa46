/**
 * `holdfast health`: asks the admin endpoint of the service that runs beside it, for HEALTHCHECK of the container image.
 *
 * The image is one for all services, so its HEALTHCHECK cannot name one. Inside the container process 1 can:
 * `tini -- holdfast edge`. The endpoint is read from the same key, with the same default, as the service reads it, so that a
 * service that was moved to another port is still found.
 */
import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import { readConfig, type Address, type Field } from '../../shared/config.js';
import { HoldfastError, messageOf } from '../../shared/errors.js';

const TIMEOUT_MS = 3_000;
const FIRST_PROCESS = '/proc/1/cmdline';

/** The key of each service's admin endpoint, by the service's name. */
export type AdminFields = Readonly<Record<string, Field<Address>>>;

/** The subcommand; exit code 1: no service answers, or it says no. */
export function healthCommand(fields: AdminFields): Command {
  return new Command('health')
    .description('asks a service on this machine whether it is healthy (exit code 1: it is not)')
    .argument('[service]', `${Object.keys(fields).join(', ')}; default: what process 1 of this container is`)
    .option('--ready', 'asks whether it is ready instead: connected to what it needs')
    .addHelpText('after', '\nExamples:\n  holdfast health edge\n  holdfast health storage --ready')
    .action(async (service: string | undefined, options: { ready?: boolean }) => {
      const name = service ?? serviceOf(readFileSync(FIRST_PROCESS));
      const answer = await askHealth(adminOf(fields, name), options.ready === true ? '/readyz' : '/healthz');
      process.stdout.write(`${answer}\n`);
    });
}

/**
 * The service that a command line runs: the word after `holdfast`.
 * @param commandLine as /proc/PID/cmdline has it, words ended by zero bytes
 * @throws HoldfastError bad_config
 */
export function serviceOf(commandLine: Buffer): string {
  const words = commandLine.toString('utf8').split('\0');
  const at = words.findIndex((word) => word === 'holdfast' || word.endsWith('/holdfast'));
  const service = at === -1 ? undefined : words.slice(at + 1).find((word) => /^[a-z]/.test(word));
  if (service !== undefined) return service;
  throw new HoldfastError('bad_config', 'process 1 is no holdfast: name the service, as `holdfast health edge`', false);
}

/**
 * Where the admin endpoint of a service is, read from the service's own key.
 * @throws HoldfastError bad_config
 */
export function adminOf(fields: AdminFields, service: string): Address {
  const field = Object.hasOwn(fields, service) ? fields[service] : undefined;
  if (field === undefined) {
    const known = Object.keys(fields).join(', ');
    throw new HoldfastError('bad_config', `${service} has no admin endpoint; these have one: ${known}`, false);
  }
  return readConfig('HEALTH', { admin: field }).admin;
}

/**
 * Asks an admin endpoint.
 * @returns the body of its answer
 * @throws HoldfastError unhealthy where it does not answer within 3 s, or with another status than 200
 */
export async function askHealth({ host, port }: Address, path: '/healthz' | '/readyz'): Promise<string> {
  const reachable = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  const url = `http://${reachable.includes(':') ? `[${reachable}]` : reachable}:${port}${path}`;
  let status: number;
  let body: string;
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS) });
    status = response.status;
    body = (await response.text()).trim();
  } catch (error) {
    throw new HoldfastError('unhealthy', `${url} does not answer: ${messageOf(error)}`, true, error);
  }
  if (status !== 200) throw new HoldfastError('unhealthy', `${url} answers ${status}: ${body}`, true);
  return body;
}
