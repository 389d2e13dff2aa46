/**
 * A UDP socket of the Linux kernel, by the system calls that Node does not have. koffi calls them in the C library that Node
 * itself runs with, on the thread of the event loop, where none of them waits: a call costs half a microsecond. koffi's calls
 * on other threads were rejected: they cost tens of microseconds, hold one of the four threads with which LMDB commits, and
 * have to be ended before the process can.
 *
 * The event loop says when there is something to read, by libuv's own poll, which koffi opens. Its callback is no turn of
 * Node's: what it throws is lost and promises wait, hence the setImmediate, which comes right behind it.
 *
 * The numbers are those of Linux's generic headers (include/uapi/asm-generic/socket.h, include/linux/socket.h), which x64 and
 * arm64 use; addresses are sockaddr_in and sockaddr_in6 (include/uapi/linux/in.h, in6.h): u16 family, u16 port in network
 * order, then u32 address and 8 bytes of nothing, or u32 flow, 16 bytes of address and u32 scope.
 */
import { lookup } from 'node:dns/promises';
import { isIPv6 } from 'node:net';
import { constants } from 'node:os';
import { getSystemErrorMap } from 'node:util';
import koffi, { type KoffiFunc, type node } from 'koffi';
import type { Address } from '../../../shared/config.js';
import type { MessageBlock } from './message-block.js';

const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_DGRAM = 2;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_ERROR = 4;
const SO_RCVBUF = 8;
/** Since Linux 4.12: nine u32, of which the last counts what was dropped (include/uapi/linux/sock_diag.h). */
const SO_MEMINFO = 55;
const MEMINFO_VALUES = 9;
const MEMINFO_DROPS = 8;
const MSG_DONTWAIT = 0x40;

const { errno } = constants;
const libc = koffi.load(null);

/** A function of the C library. @param T what C's declaration says, in TypeScript */
function declared<T extends (...values: never[]) => number>(declaration: string): KoffiFunc<T> {
  return libc.func(declaration) as unknown as KoffiFunc<T>;
}

const socket = declared<(family: number, type: number, protocol: number) => number>(
  'int socket(int family, int type, int protocol)',
);
const bind = declared<(descriptor: number, address: Buffer, bytes: number) => number>(
  'int bind(int descriptor, const void *address, unsigned int bytes)',
);
const getsockname = declared<(descriptor: number, address: Buffer, bytes: Uint32Array) => number>(
  'int getsockname(int descriptor, void *address, void *bytes)',
);
type GetOption = (descriptor: number, level: number, option: number, value: Uint32Array, bytes: Uint32Array) => number;
const getsockopt = declared<GetOption>(
  'int getsockopt(int descriptor, int level, int option, void *value, void *bytes)',
);
type SetOption = (descriptor: number, level: number, option: number, value: Uint32Array, bytes: number) => number;
const setsockopt = declared<SetOption>(
  'int setsockopt(int descriptor, int level, int option, const void *value, unsigned int bytes)',
);
const inetPton = declared<(family: number, text: string, address: Buffer) => number>(
  'int inet_pton(int family, const char *text, void *address)',
);
type MoveMessages = (descriptor: number, headers: Uint8Array, count: number, flags: number) => number;
const recvmmsg = declared<(...values: [...Parameters<MoveMessages>, null]) => number>(
  'int recvmmsg(int descriptor, void *headers, unsigned int count, int flags, void *timeout)',
);
const sendmmsg = declared<MoveMessages>(
  'int sendmmsg(int descriptor, const void *headers, unsigned int count, int flags)',
);
const close = declared<(descriptor: number) => number>('int close(int descriptor)');

/** A system call that the kernel refused. */
export class SystemCallError extends Error {
  override readonly name = 'SystemCallError';

  private constructor(
    call: string,
    /** As `EADDRINUSE`. */
    readonly code: string,
    meaning: string,
  ) {
    super(`${call} ${code} (${meaning})`);
  }

  /** @param number of the error, as errno has it */
  static of(call: string, number: number): SystemCallError {
    const [code, meaning] = getSystemErrorMap().get(-number) ?? [`errno ${number}`, 'unknown'];
    return new SystemCallError(call, code, meaning);
  }
}

/** @throws SystemCallError where a call has failed, which must be the last one: koffi keeps no errno, the thread does */
function checked(call: string, result: number): number {
  if (result < 0) throw SystemCallError.of(call, koffi.errno());
  return result;
}

/** An address as bind(2) takes it: a number, or a name that is looked up. */
async function socketAddress({ host, port }: Address): Promise<Buffer> {
  const isV6 = isIPv6(host);
  const numbers = isV6 ? host : (await lookup(host, { family: 4 })).address;
  const bytes = Buffer.alloc(isV6 ? 28 : 16);
  const family = isV6 ? AF_INET6 : AF_INET;
  bytes.writeUInt16LE(family, 0);
  bytes.writeUInt16BE(port, 2);
  const result = inetPton(family, numbers, bytes.subarray(isV6 ? 8 : 4));
  if (result !== 1) throw new Error(`${host} is no address`);
  return bytes;
}

export class Descriptor {
  #poll: node.PollHandle | undefined;

  private constructor(
    private readonly number: number,
    /** Of the addresses that datagrams come from and go to. */
    readonly addressBytes: number,
    readonly port: number,
  ) {}

  /** @throws SystemCallError, or what the look-up of a name ends with */
  static async open(address: Address, receiveBufferBytes: number): Promise<Descriptor> {
    const bytes = await socketAddress(address);
    const type = SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
    const number = checked('socket', socket(bytes.readUInt16LE(0), type, 0));
    try {
      const size = Uint32Array.of(receiveBufferBytes);
      checked('setsockopt SO_RCVBUF', setsockopt(number, SOL_SOCKET, SO_RCVBUF, size, size.byteLength));
      checked('bind', bind(number, bytes, bytes.length));
      checked('getsockname', getsockname(number, bytes, Uint32Array.of(bytes.length)));
    } catch (error) {
      close(number);
      throw error;
    }
    return new Descriptor(number, bytes.length, bytes.readUInt16BE(2));
  }

  /**
   * Calls back in a turn of its own whenever there is something to read, or, until the next call of this, room to write.
   * @param onFailure the kernel has an error for the socket itself
   */
  watch(isForWriting: boolean, onReady: () => void, onFailure: (error: unknown) => void): void {
    const events = { readable: true, writable: isForWriting };
    // koffi's declaration has the events alone, and it gives a status before them: below 0, libuv has stopped to look.
    const onEvent = ((status: number): void => {
      setImmediate(() => {
        // Closed since.
        if (this.#poll === undefined) return;
        if (status < 0) onFailure(this.#error());
        else onReady();
      });
    }) as unknown as (events: node.PollEvents) => void;
    if (this.#poll === undefined) this.#poll = koffi.node.poll(this.number, events, onEvent);
    else this.#poll.start(events, onEvent);
  }

  /** Reads into a block what is there, as far as it has room. @returns how many; 0: nothing is there */
  receive({ headers, capacity }: MessageBlock): number {
    const result = recvmmsg(this.number, headers, capacity, MSG_DONTWAIT, null);
    return result < 0 && isNothing(koffi.errno()) ? 0 : checked('recvmmsg', result);
  }

  /**
   * Sends what a block holds, from one of its messages on, until the network takes no more.
   * @returns how many were sent; 'full': none, for want of room; an error: none, because of the first one
   */
  send(block: MessageBlock, from: number): number | 'full' | SystemCallError {
    const result = sendmmsg(this.number, block.headersFrom(from), block.count - from, MSG_DONTWAIT);
    if (result >= 0) return result;
    const number = koffi.errno();
    return isNothing(number) ? 'full' : SystemCallError.of('sendmmsg', number);
  }

  /** What the kernel has dropped of what came, since the socket is there; undefined: this kernel does not say, as gVisor's. */
  dropped(): number | undefined {
    const values = new Uint32Array(MEMINFO_VALUES);
    const bytes = Uint32Array.of(values.byteLength);
    const result = getsockopt(this.number, SOL_SOCKET, SO_MEMINFO, values, bytes);
    if (result < 0 && koffi.errno() === errno.ENOPROTOOPT) return undefined;
    checked('getsockopt SO_MEMINFO', result);
    return values[MEMINFO_DROPS]!;
  }

  close(): void {
    this.#poll?.close();
    this.#poll = undefined;
    checked('close', close(this.number));
  }

  #error(): SystemCallError {
    const value = Uint32Array.of(0);
    checked('getsockopt', getsockopt(this.number, SOL_SOCKET, SO_ERROR, value, Uint32Array.of(value.byteLength)));
    return SystemCallError.of('poll', value[0]!);
  }
}

/** Nothing to read, no room to write, or a signal before either: to be tried again when the event loop says so. */
function isNothing(number: number): boolean {
  return number === errno.EAGAIN || number === errno.EINTR;
}
