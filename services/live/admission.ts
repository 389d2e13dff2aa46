/** Which clients are let in: what is checked of an upgrade request, in the order in which it costs. */
import { equalsSecret } from '../../shared/token.js';

export const SUBPROTOCOL = 'holdfast.v1.live';
const TOKEN_PREFIX = 'token.';

export interface UpgradeRequest {
  readonly origin: string;
  readonly authorization: string;
  /** The offered subprotocols, as in the header. */
  readonly offered: string;
}

export interface AdmissionOptions {
  /** The only Origins that are let in; a request without one does not come from a web page. */
  readonly origins: readonly string[];
  readonly apiToken: string | undefined;
  readonly maxClients: number;
}

export interface Admitted {
  /** The subprotocol to answer with; empty where none was offered. */
  readonly answer: string;
}

export interface Refused {
  readonly status: '400 Bad Request' | '401 Unauthorized' | '403 Forbidden' | '503 Service Unavailable';
  /** For metrics. */
  readonly reason: string;
  readonly message: string;
}

export function admit(request: UpgradeRequest, options: AdmissionOptions, clients: number): Admitted | Refused {
  if (request.origin !== '' && !options.origins.includes(request.origin)) {
    return { status: '403 Forbidden', reason: 'origin', message: 'this Origin is not on the list of LIVE_ORIGINS' };
  }
  const offered = request.offered === '' ? [] : request.offered.split(',').map((name) => name.trim());
  if (offered.length > 0 && !offered.includes(SUBPROTOCOL)) {
    return { status: '400 Bad Request', reason: 'subprotocol', message: `offer the subprotocol ${SUBPROTOCOL}` };
  }
  if (options.apiToken !== undefined) {
    const bearer = /^Bearer +(\S+)$/i.exec(request.authorization)?.[1];
    const token = bearer ?? offered.find((name) => name.startsWith(TOKEN_PREFIX))?.slice(TOKEN_PREFIX.length);
    if (token === undefined) {
      const message = `give the token as Authorization: Bearer <token>, or offer token.<token> beside ${SUBPROTOCOL}`;
      return { status: '401 Unauthorized', reason: 'no_credential', message };
    }
    if (!equalsSecret(options.apiToken, token)) {
      return { status: '403 Forbidden', reason: 'credential', message: 'this token is not the one of LIVE_API_TOKEN' };
    }
  }
  if (clients >= options.maxClients) {
    const message = `${options.maxClients} clients are connected already`;
    return { status: '503 Service Unavailable', reason: 'max_clients', message };
  }
  return { answer: offered.length > 0 ? SUBPROTOCOL : '' };
}
