/** What an upgrade request says of its device: its id, its token, and the subprotocol it wants to speak. */
import { BAD_ID, type Admission, type Refused } from '../admission.js';
import { bearerToken, decodeId, refuseOrigin } from '../http/caller.js';

export type Protocol = 'json' | 'binary';

const PROTOCOLS: ReadonlyMap<string, Protocol> = new Map([
  ['holdfast.v1.json', 'json'],
  ['holdfast.v1.binary', 'binary'],
]);
const TOKEN_PREFIX = 'token.';
const HOW_TO_GIVE_A_TOKEN = 'give the token as Authorization: Bearer <token>, or offer the subprotocol token.<token>';

/** Its headers, empty where they are missing. */
export interface UpgradeRequest {
  /** As in the URL, percent-encoding and all. */
  readonly id: string;
  readonly origin: string;
  readonly authorization: string;
  /** The offered subprotocols, as in the header. */
  readonly offered: string;
}

export interface Admitted {
  readonly deviceId: string;
  readonly protocol: Protocol;
  /** The subprotocol to answer with; empty where none was offered. */
  readonly answer: string;
}

/**
 * Lets a device in, or says why not.
 * @param origins values of the Origin header that are let in
 */
export function admit(request: UpgradeRequest, origins: readonly string[], admission: Admission): Admitted | Refused {
  const deviceId = decodeId(request.id);
  if (deviceId === undefined) return BAD_ID;
  const refusedOrigin = refuseOrigin(request.origin, origins);
  if (refusedOrigin !== undefined) return refusedOrigin;
  const offered = request.offered.split(',').map((name) => name.trim());
  const answer = request.offered === '' ? '' : offered.find((name) => PROTOCOLS.has(name));
  if (answer === undefined) {
    const message = `offer one of the subprotocols ${[...PROTOCOLS.keys()].join(', ')}`;
    return { reason: 'subprotocol', message };
  }
  const token = tokenOf(request.authorization, offered);
  const refused = admission.authorize(deviceId, token, HOW_TO_GIVE_A_TOKEN) ?? admission.enter();
  return refused ?? { deviceId, protocol: PROTOCOLS.get(answer) ?? 'json', answer };
}

function tokenOf(authorization: string, offered: readonly string[]): string | undefined {
  return (
    bearerToken(authorization) ?? offered.find((name) => name.startsWith(TOKEN_PREFIX))?.slice(TOKEN_PREFIX.length)
  );
}
