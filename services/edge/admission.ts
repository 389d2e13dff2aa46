/**
 * Who is let in, whatever protocol a device knocks by: its id, its token, and whether there is room for it, in the order
 * in which the checks cost.
 *
 * The rates come last, so that only devices that could come in draw on them: token buckets, one that lets a reconnect storm
 * in at the speed at which it can be served, and one for requests that stand by themselves, so that neither kind of device
 * starves the other.
 */
import { isDeviceToken } from '../../shared/token.js';
import { TokenBucket } from './token-bucket.js';

export const DEVICE_ID = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$/;

/** Why somebody is not let in; a label of metrics. Each protocol has its own code for it. */
export type RefusalReason =
  | 'bad_id'
  | 'origin'
  | 'subprotocol'
  | 'no_credential'
  | 'credential'
  | 'stopping'
  | 'max_devices'
  | 'accept_rate'
  | 'request_rate';

export interface Refused {
  readonly reason: RefusalReason;
  readonly message: string;
  readonly retryAfterSeconds?: number;
}

export const BAD_ID: Refused = { reason: 'bad_id', message: `a device id matches ${DEVICE_ID.source}` };

const STOPPING: Refused = { reason: 'stopping', message: 'the edge restarts' };

export interface AdmissionOptions {
  readonly deviceSecret: string | undefined;
  readonly acceptRate: number;
  readonly acceptBurst: number;
  readonly requestRate: number;
  readonly maxDevices: number;
  readonly retryAfterMs: number;
}

/** The devices that are here already. */
interface Here {
  readonly count: number;
  readonly isStopping: boolean;
}

export class Admission {
  readonly #accepts: TokenBucket;
  readonly #requests: TokenBucket;

  constructor(
    private readonly options: AdmissionOptions,
    private readonly here: Here,
  ) {
    this.#accepts = new TokenBucket(options.acceptRate, options.acceptBurst);
    this.#requests = new TokenBucket(options.requestRate, options.requestRate);
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
    if (isStopping) return STOPPING;
    if (count >= maxDevices) return this.#later('max_devices', `${maxDevices} devices are connected already`);
    if (this.#accepts.draw()) return undefined;
    return this.#later('accept_rate', 'too many devices connect at once', this.#accepts.turn());
  }

  /** Whether one more request may be served that is no session; draws on the request rate. */
  request(): Refused | undefined {
    const stopping = this.refuseWhileStopping();
    if (stopping !== undefined) return stopping;
    const { requestRate } = this.options;
    if (this.#requests.draw()) return undefined;
    const message = `more than ${requestRate} requests a second are not served`;
    return this.#later('request_rate', message, this.#requests.turn());
  }

  /** Whether what began before the edge stops may still bring records. */
  refuseWhileStopping(): Refused | undefined {
    return this.here.isStopping ? STOPPING : undefined;
  }

  #later(reason: RefusalReason, message: string, turnMs = 0): Refused {
    const retryAfterMs = Math.max(turnMs, this.options.retryAfterMs * (0.5 + Math.random()));
    return { reason, message, retryAfterSeconds: Math.ceil(retryAfterMs / 1000) };
  }
}
