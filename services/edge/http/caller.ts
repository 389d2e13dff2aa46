/** Who asks, as the head of an HTTP request says it: for upgrades and for requests alike. */
import { DEVICE_ID, type Refused } from '../admission.js';

/** A device's id as it stands in a path, percent-encoding and all; undefined where it is none. */
export function decodeId(encoded: string): string | undefined {
  try {
    const id = decodeURIComponent(encoded);
    return DEVICE_ID.test(id) ? id : undefined;
  } catch {
    // Not percent-encoded text: no id either.
    return undefined;
  }
}

/** The token of an Authorization header. */
export function bearerToken(authorization: string): string | undefined {
  return /^Bearer +(\S+)$/i.exec(authorization)?.[1];
}

/**
 * Web pages of other sites are refused; what is no browser sends no Origin.
 * @param origin of the request; empty where there is none
 */
export function refuseOrigin(origin: string, origins: readonly string[]): Refused | undefined {
  if (origin === '' || origins.includes(origin)) return undefined;
  return { reason: 'origin', message: 'this Origin is not on the list of EDGE_ORIGINS' };
}
