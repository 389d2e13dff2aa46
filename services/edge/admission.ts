/**
 * Who is let in, whatever protocol a device knocks by: its id, its token, and whether there is room for it, in the order
 * in which the checks cost.
 *
 * The accept rate comes last, so that only devices that could come in draw on it: a token bucket that lets a reconnect
 * storm in at the speed at which it can be served.
 */
import { isDeviceToken } from '../../shared/token.js';

export const DEVICE_ID = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$/;

/** Why somebody is not let in; a label of metrics. Each protocol has its own code for it. */
export type RefusalReason =
  'bad_id' | 'origin' | 'subprotocol' | 'no_credential' | 'credential' | 'stopping' | 'max_devices' | 'accept_rate';

export interface Refused {
  readonly reason: RefusalReason;
  readonly message: string;
  readonly retryAfterSeconds?: number;
}

export const BAD_ID: Refused = { reason: 'bad_id', message: `a device id matches ${DEVICE_ID.source}` };

export interface AdmissionOptions {
  readonly deviceSecret: string | undefined;
  readonly acceptRate: number;
  readonly acceptBurst: number;
  readonly maxDevices: number;
  readonly retryAfterMs: number;
}

/** The devices that are here already. */
interface Here {
  readonly count: number;
  readonly isStopping: boolean;
}

export class Admission {
  #tokens: number;
  #refilledMs = Date.now();

  constructor(
    private readonly options: AdmissionOptions,
    private readonly here: Here,
  ) {
    this.#tokens = options.acceptBurst;
  }

  /**
   * Whether a device is who it says it is. Without EDGE_DEVICE_SECRET everybody is: only loopback is served then.
   * @param howTo how this protocol gives a token, for the one that gave none
   */
  authorize(deviceId: string, token: string | undefined, howTo: string): Refused | undefined {
    const { deviceSecret } = this.options;
    if (deviceSecret === undefined) return undefined;
    if (token === undefined) return { reason: 'no_credential', message: howTo };
    if (isDeviceToken(deviceSecret, deviceId, token)) return undefined;
    return { reason: 'credential', message: `this token is not that of device ${deviceId}` };
  }

  /** Whether there is room for one more session; draws on the accept rate. */
  enter(): Refused | undefined {
    const { count, isStopping } = this.here;
    const { maxDevices } = this.options;
    // A connection that was accepted before the listener closed.
    if (isStopping) return { reason: 'stopping', message: 'the edge restarts' };
    if (count >= maxDevices) return this.#later('max_devices', `${maxDevices} devices are connected already`);
    return this.#draw() ? undefined : this.#later('accept_rate', 'too many devices connect at once');
  }

  #later(reason: RefusalReason, message: string): Refused {
    const retryAfterSeconds = Math.ceil((this.options.retryAfterMs * (0.5 + Math.random())) / 1000);
    return { reason, message, retryAfterSeconds };
  }

  #draw(): boolean {
    const nowMs = Date.now();
    const { acceptRate, acceptBurst } = this.options;
    // A clock that was set back must not empty the bucket for as long as it was set back.
    const elapsedMs = Math.max(0, nowMs - this.#refilledMs);
    this.#tokens = Math.min(acceptBurst, this.#tokens + (elapsedMs / 1000) * acceptRate);
    this.#refilledMs = nowMs;
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }
}
