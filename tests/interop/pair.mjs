// For the suites that compare our client script with the official client: servers and clients of one test, and `same`.

import assert from 'node:assert/strict';
import http from 'node:http';
import { afterEach, test } from 'node:test';
import * as official from 'socket.io-client';
import { Server } from 'socket.io';
import { WebSocket } from 'ws';
import { within } from './harness.mjs';

globalThis.WebSocket = WebSocket; // Node 20 has none
export const own = await import('../../src/client/dist/socket.io.esm.min.js');

/** What to do after the test, last things first. */
export const closing = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

/** Listens on a free port until the test ends: the address. */
export async function listen(web, port = 0) {
  const connections = new Set();
  web.on('connection', (connection) => connections.add(connection));
  const end = () => {
    for (const connection of connections) connection.destroy();
    return new Promise((resolve) => { web.close(resolve); });
  };
  closing.push(end);
  await new Promise((resolve) => { web.listen(port, '127.0.0.1', resolve); });
  return { url: `http://127.0.0.1:${web.address().port}`, end };
}

/** Node's server with these options; `set` adds handlers before anybody can connect. */
export async function serve(options = {}, set = () => {}, port = 0) {
  const web = http.createServer();
  const io = new Server(web, options);
  io.on('connection', (socket) => {
    socket.on('echo', (...args) => {
      const ack = typeof args.at(-1) === 'function' && args.pop();
      if (ack) ack(...args);
      else socket.emit('echo', ...args);
    });
  });
  set(io);
  const { url, end } = await listen(web, port);
  return { io, web, url, port: web.address().port, end: () => { io.disconnectSockets(true); return end(); } };
}

/** A client of the scenario: like the module's, but closed after the test. */
export class Client {
  constructor(module) {
    this.module = module;
  }

  io(url, options) {
    const socket = this.module.io(url, { forceNew: true, reconnection: false, ...options });
    closing.push(() => socket.disconnect());
    return socket;
  }

  manager(url, options) {
    const manager = new this.module.Manager(url, { reconnection: false, ...options });
    closing.push(() => manager._close());
    return manager;
  }
}

export const on = (log, emitter, name, ...events) => {
  for (const event of events) emitter.on(event, (...args) => log.push([name, event, ...args.map(plain)]));
};

/** What of an argument is the same in each run. */
export function plain(value) {
  if (value instanceof Error) {
    const { message, type, data } = value;
    return { message, ...(type && { type }), ...(data && { data }) };
  }
  if (value?.name === 'polling' || value?.name === 'websocket') return value.name;
  if (value?.description && value?.context !== undefined) return { description: value.description, code: value.context.code };
  return value;
}

/** A test in which both clients must observe the same; `scenario` returns what it observed. `also` looks at it. */
export function same(title, scenario, also = () => {}) {
  test(title, async () => {
    const seen = {};
    for (const [name, module] of Object.entries({ official, own })) {
      seen[name] = await within(scenario(new Client(module)), `${title} (${name})`);
      for (const close of closing.splice(0).reverse()) await close();
    }
    assert.deepEqual(seen.own, seen.official);
    also(seen.own);
  });
}
