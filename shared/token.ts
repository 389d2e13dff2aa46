/**
 * Credentials of devices: token = base64url(HMAC-SHA256(secret, device id)). Whoever holds the secret can check a token
 * without a lookup, and a token says nothing about the secret or about another device's token.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';

/** Both sides are hashed to one length first, because timingSafeEqual wants equal lengths; the key is no secret. */
const COMPARE_KEY = 'holdfast';

/** The token of a device: 43 characters of base64url. */
export function deviceToken(secret: string, deviceId: string): string {
  return createHmac('sha256', secret).update(deviceId).digest('base64url');
}

/** True where `token` is the device's, in a time that does not depend on how much of it is right. */
export function isDeviceToken(secret: string, deviceId: string, token: string): boolean {
  return equalsSecret(deviceToken(secret, deviceId), token);
}

/** Compares text with a secret in a time that depends on the given text's length alone. */
export function equalsSecret(secret: string, given: string): boolean {
  const expected = createHmac('sha256', COMPARE_KEY).update(secret).digest();
  return timingSafeEqual(expected, createHmac('sha256', COMPARE_KEY).update(given).digest());
}
