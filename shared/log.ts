/**
 * Logging: pino, one JSON object a line; on a terminal the same lines made readable. A line is a change of state or a fault; none
 * is written for a record, and none holds a payload or a secret.
 *
 * Errors are logged by name, code, message and stack, and their causes by message, and nothing else of them: errors of libraries
 * carry what they were about (ioredis the command with its arguments, pg the row), which is payloads and passwords.
 */
import { isatty } from 'node:tty';
import { pino, type Logger } from 'pino';
import pretty from 'pino-pretty';
import { logFields, readConfig } from './config.js';

export type { Logger };

/**
 * A logger whose lines carry the service's name. Reads LOG_LEVEL and LOG_FORMAT.
 * @param fd 1; 2 where stdout is for results
 * @throws HoldfastError bad_config
 */
export function createLogger(service: string, fd: 1 | 2 = 1): Logger {
  const { logLevel, logFormat } = readConfig('LOG', logFields);
  const options = {
    level: logLevel,
    base: { service },
    timestamp: pino.stdTimeFunctions.isoTime,
    serializers: { err: describeError },
  };
  const readable = logFormat === 'text' || (logFormat === 'auto' && isatty(fd));
  if (!readable) return pino(options, pino.destination({ dest: fd, sync: true }));
  const stream = pretty({
    destination: fd,
    sync: true,
    ignore: 'service,pid,hostname',
    translateTime: 'SYS:HH:MM:ss.l',
    messageFormat: '{service}: {msg}',
  });
  return pino(options, stream);
}

const MAX_CAUSES = 4;

/** What is logged of an error. */
export function describeError(error: unknown): Readonly<Record<string, unknown>> {
  if (!(error instanceof Error)) return { message: typeof error };
  const { code } = error as { readonly code?: unknown };
  const causes: string[] = [];
  let { cause } = error;
  while (cause instanceof Error && causes.length < MAX_CAUSES) {
    causes.push(`${cause.name}: ${cause.message}`);
    cause = cause.cause;
  }
  return {
    type: error.name,
    message: error.message,
    ...(typeof code === 'string' ? { code } : {}),
    stack: error.stack,
    ...(causes.length > 0 ? { causes } : {}),
  };
}
