/**
 * uWebSockets.js, the one place that imports it.
 *
 * Two builds of the same C++ library serve: the makers' own (from their repository, needs a recent glibc) and a community
 * build from the npm registry. They differ in the names of two functions and in what their ES module wrappers export, so
 * the addon is loaded with require and both names are tried; the rest of the code sees neither.
 *
 * What every user of it has to keep in mind: a request, its headers and the bytes of a message are valid during the callback
 * alone; nothing may be called on a socket after its close callback; a send that returns 2 was dropped; the user data given
 * to upgrade is copied property by property, so it has to be a plain object that holds whatever has a class.
 */
import { createRequire } from 'node:module';
import type { TemplatedApp as Routes, WebSocket, us_listen_socket } from 'uWebSockets.js';
import type { Address } from './config.js';
import { HoldfastError } from './errors.js';

export type { HttpRequest, HttpResponse, WebSocket, WebSocketBehavior, us_socket_context_t } from 'uWebSockets.js';

type CloseListener = (socket: us_listen_socket) => void;
type PortOf = (socket: us_listen_socket) => number;

/** What both builds offer, and the functions whose names differ. */
interface Addon {
  App(): TemplatedApp;
  readonly us_listen_socket_close?: CloseListener;
  readonly closeSocket?: CloseListener;
  readonly us_socket_local_port?: PortOf;
  readonly getSocketPort?: PortOf;
}

/** An application: both builds listen with an option after the host too, which the types of the community build leave out. */
export interface TemplatedApp extends Routes {
  listen: Routes['listen'] & ListenWithOptions;
}

type ListenWithOptions = (
  host: string,
  port: number,
  options: number,
  listening: (socket: us_listen_socket | false) => void,
) => TemplatedApp;

/** Without it a second process would share the port (SO_REUSEPORT) and take half of the devices unseen. */
const EXCLUSIVE_PORT = 1;

const addon = createRequire(import.meta.url)('uWebSockets.js') as Addon;
const closeListener = required(addon.us_listen_socket_close ?? addon.closeSocket, 'us_listen_socket_close');
const portOf = required(addon.us_socket_local_port ?? addon.getSocketPort, 'us_socket_local_port');

/** An application without TLS: routes are added to it before it listens. */
export function App(): TemplatedApp {
  return addon.App();
}

/** A listening socket. Closing it lets nobody new in; the sockets that are open stay open. */
export interface Listener {
  /** The port it listens on, also where port 0 was asked for. */
  readonly port: number;
  close(): void;
}

/**
 * Listens on host and port, alone.
 * @throws HoldfastError listen_failed where the port is taken or the host is not this machine's
 */
export function listen(app: TemplatedApp, { host, port }: Address): Promise<Listener> {
  return new Promise((resolve, reject) => {
    app.listen(host, port, EXCLUSIVE_PORT, (socket) => {
      if (socket === false) {
        const message = `cannot listen on ${host}:${port}: the port is taken, or the host is not an address of this machine`;
        reject(new HoldfastError('listen_failed', message, true));
        return;
      }
      let open = true;
      const close = (): void => {
        if (open) closeListener(socket);
        open = false;
      };
      resolve({ port: portOf(socket), close });
    });
  });
}

/**
 * A socket's user data as the event loop's hottest callback reads it: both builds copy it to the socket's own object, where
 * getUserData, a call into C++ for every message, finds it too.
 */
export function dataOf<T>(socket: WebSocket<T>): T {
  return socket as unknown as T;
}

const NO_SHORTCUT = 'holdfast';

/**
 * Makes long messages safe on a socket; to be called as it opens, where messages of 16 KiB and more are sent.
 *
 * Builds from before September 2023 lose bytes of such a message when the kernel takes only a part of it, and the client
 * reads garbage from there on (uWebSockets #1662). A socket that is subscribed to a topic is sent to by another path.
 */
export function protectLongMessages<T>(socket: WebSocket<T>): void {
  socket.subscribe(NO_SHORTCUT);
}

function required<T>(found: T | undefined, name: string): T {
  if (found !== undefined) return found;
  throw new HoldfastError('start_failed', `this build of uWebSockets.js has no ${name}`, false);
}
