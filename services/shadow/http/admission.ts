/**
 * Who may call: checked before anything else of a request is looked at.
 *
 * 1. The token, where one is set: 401 without one, 403 with another.
 * 2. An Origin header: 403. Only browsers send it, and browsers are not meant to call this API: whoever could make them
 *    would act for everyone who opens a page. No CORS header is ever sent either. A web application has a server of its own
 *    that holds the token.
 * 3. Without a token, only loopback is served, and then the Host must be a name of loopback: a page whose own name was made
 *    to point to 127.0.0.1 (DNS rebinding) reads by GET without an Origin, but under its own Host.
 */
import { isLoopback } from '../../../shared/config.js';
import { equalsSecret } from '../../../shared/token.js';
import { RequestError } from '../request-error.js';

export interface Credentials {
  readonly authorization: string;
  readonly origin: string;
  readonly host: string;
}

/** @throws RequestError 401, 403 */
export function checkCaller(apiToken: string | undefined, { authorization, origin, host }: Credentials): void {
  if (apiToken !== undefined) {
    const token = /^Bearer +(\S+)$/i.exec(authorization)?.[1];
    if (token === undefined) throw new RequestError(401, 'give the token of the API as Authorization: Bearer <token>');
    if (!equalsSecret(apiToken, token)) throw new RequestError(403, 'this token is not the one of SHADOW_API_TOKEN');
  }
  if (origin !== '') {
    const message = 'requests of web pages (with an Origin header) are not served; call from a server of your own';
    throw new RequestError(403, message);
  }
  if (apiToken === undefined && !isLoopback(nameOf(host))) {
    const message = 'without SHADOW_API_TOKEN the Host of a request must be localhost, 127.0.0.1 or [::1]';
    throw new RequestError(403, message);
  }
}

/** The host without its port, and without the brackets of IPv6. */
function nameOf(host: string): string {
  return host
    .replace(/:\d*$/, '')
    .replace(/^\[(.*)\]$/, '$1')
    .toLowerCase();
}
