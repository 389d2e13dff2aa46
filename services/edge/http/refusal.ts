/** How HTTP says that somebody is not let in, be it to an upgrade or to a request. */
import type { HttpResponse } from '../../../shared/uws.js';
import type { RefusalReason, Refused } from '../admission.js';

export const STATUS: Readonly<Record<RefusalReason, string>> = {
  bad_id: '400 Bad Request',
  origin: '403 Forbidden',
  subprotocol: '400 Bad Request',
  no_credential: '401 Unauthorized',
  credential: '403 Forbidden',
  stopping: '503 Service Unavailable',
  max_devices: '503 Service Unavailable',
  accept_rate: '429 Too Many Requests',
  request_rate: '429 Too Many Requests',
};

/** Answers with the status of the refusal, and its message in words. */
export function refuse(response: HttpResponse, { reason, message, retryAfterSeconds }: Refused): void {
  response.cork(() => {
    response.writeStatus(STATUS[reason]);
    if (reason === 'no_credential') response.writeHeader('WWW-Authenticate', 'Bearer');
    if (retryAfterSeconds !== undefined) response.writeHeader('Retry-After', String(retryAfterSeconds));
    response.writeHeader('Content-Type', 'text/plain').end(`${message}\n`);
  });
}
