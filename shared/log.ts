/** Logging: pino, one JSON object a line; on a terminal the same lines made readable. */
import { pino, type Logger } from 'pino';
import pretty from 'pino-pretty';
import { logFields, readConfig } from './config.js';

export type { Logger };

/**
 * A logger whose lines carry the service's name. Reads LOG_LEVEL and LOG_FORMAT.
 * @throws HoldfastError bad_config
 */
export function createLogger(service: string): Logger {
  const { logLevel, logFormat } = readConfig('LOG', logFields);
  const options = { level: logLevel, base: { service }, timestamp: pino.stdTimeFunctions.isoTime };
  const readable = logFormat === 'text' || (logFormat === 'auto' && process.stdout.isTTY);
  if (!readable) return pino(options, pino.destination({ dest: 1, sync: true }));
  const stream = pretty({
    sync: true,
    ignore: 'service,pid,hostname',
    translateTime: 'SYS:HH:MM:ss.l',
    messageFormat: '{service}: {msg}',
  });
  return pino(options, stream);
}
