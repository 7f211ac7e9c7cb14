/**
 * Ringhall's Socket.IO client for browsers, and for Node.js where there is a WebSocket. Written from the protocol documents (Socket.IO
 * protocol 5, Engine.IO protocol 4), with the interface of the official client 4.8:
 *
 *     const socket = io();                       // the page's own server; polling first, then a websocket
 *     socket.emit('hello', 'world', (answer) => …);
 *     socket.on('news', (item, bytes) => …);
 *
 * Not in it: WebTransport, JSONP, options of Node's sockets (agent, certificates).
 */

import { parseAddress } from './address.js';
import { Manager } from './manager.js';
import { Socket } from './socket.js';

/** Managers by address, so that namespaces of one server share a connection. */
const cache = {};

/** `io([address][, options])`: a socket of the namespace that the address names. */
export function io(uri, opts) {
  if (uri && typeof uri === 'object') [uri, opts] = [undefined, uri];
  opts = { ...opts };
  const { origin_, path_, query_ } = parseAddress(uri);
  const key = origin_ + (opts.path || '');
  const taken = cache[key]?.nsps[path_];
  let manager;
  opts.query ||= query_;
  // A second socket of the same namespace needs a connection of its own.
  if (opts.forceNew || opts.multiplex === false || taken) manager = new Manager(origin_, opts);
  else manager = cache[key] ||= new Manager(origin_, opts);
  return manager.socket(path_, opts);
}

/** The revision of the Socket.IO protocol. */
export const protocol = 5;

Object.assign(io, { io, connect: io, Manager, Socket, protocol });

export { io as connect, io as default, Manager, Socket };
