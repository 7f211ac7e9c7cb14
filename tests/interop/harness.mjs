// What every suite needs: a server of its own, clients that are closed again, and waiting that ends.
//
// The programs under test:
//   RINGHALL_BIN          the `ringhall` binary            (default: target/debug/ringhall)
//   RINGHALL_INTEROP_BIN  the example `interop`            (default: target/debug/examples/interop)
//   RINGHALL_EXAMPLES     the folder of the other examples (default: target/debug/examples)
//   RINGHALL_ENGINE_BIN   the example `engine_echo`        (default: target/debug/examples/engine_echo)
//   RINGHALL_REFERENCE=1  reference.mjs, Node's own server, in the place of all of them
// and who talks to them:
//   RINGHALL_CLIENT=own   our own script (src/client/dist), in the place of the official client
//   RINGHALL_TRANSPORTS   what the clients may use: "polling", "polling,websocket" (default: "websocket")
//   RINGHALL_BASE64=1     they take no binary frames (`forceBase64`)
//   RINGHALL_PARSER       the parser of clients and of the example interop: "default" (default), "msgpack"
//   RINGHALL_PORT         who listens for the example interop: "ringhall" (default), "axum", "buffers" (axum with streams that it must keep)
//   RINGHALL_CORES        the cores of the servers (default: 2; the number of CPUs where a suite does not say)

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { WebSocket } from 'ws';

const here = path.dirname(fileURLToPath(import.meta.url));
export const repository = path.resolve(here, '../..');
export const isReference = Boolean(process.env.RINGHALL_REFERENCE);
export const isOwn = process.env.RINGHALL_CLIENT === 'own';
export const isPacked = process.env.RINGHALL_PARSER === 'msgpack';
const parser = isPacked ? (await import('socket.io-msgpack-parser')).default : undefined;
const forceBase64 = Boolean(process.env.RINGHALL_BASE64);
export const transports = (process.env.RINGHALL_TRANSPORTS ?? 'websocket').split(',');

export const cores = Number(process.env.RINGHALL_CORES ?? 2);

/** For `skip`: true of a mode in which there is no websocket to act upon. */
export const needsWebSocket = !transports.includes('websocket') && 'needs a websocket';

// Our script takes the platform's WebSocket, which Node 20 lacks; and the suites reach into the one of ws.
if (isOwn) globalThis.WebSocket = WebSocket;
const { io, Manager } = await import(isOwn ? '../../src/client/dist/socket.io.esm.min.js' : 'socket.io-client');

// Long enough for a debug build on a loaded machine; what is waited for normally comes in milliseconds.
const PATIENCE_MS = 20_000;
const STOP_MS = 10_000;

/** The command line of `lobby` (the binary) or of an example. */
export function program(name) {
  if (isReference) return [process.execPath, path.join(here, 'reference.mjs'), '--program', name];
  const inTree = {
    lobby: 'target/debug/ringhall',
    interop: 'target/debug/examples/interop',
    engine: 'target/debug/examples/engine_echo',
  };
  const examples = process.env.RINGHALL_EXAMPLES ?? 'target/debug/examples';
  const given = {
    lobby: process.env.RINGHALL_BIN,
    interop: process.env.RINGHALL_INTEROP_BIN,
    engine: process.env.RINGHALL_ENGINE_BIN,
  };
  return [given[name] ?? path.resolve(repository, inTree[name] ?? path.join(examples, name))];
}

/** Rejects with `what` unless the promise settles in time. */
export async function within(promise, what, ms = PATIENCE_MS) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${ms} ms: ${what}`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Asks until the answer satisfies `accept`; for what the server learns by itself, such as a lost connection. */
export async function eventually(ask, accept, what) {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    const answer = await ask();
    if (accept(answer)) return answer;
    if (Date.now() > deadline) throw new Error(`never: ${what}; last answer ${JSON.stringify(answer)}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** The next `event` of an emitter: its arguments. */
export function next(emitter, event) {
  const arrival = new Promise((resolve) => emitter.once(event, (...args) => resolve(args)));
  return within(arrival, `event "${event}"`);
}

/** Collects every `event`; `until(n)` waits for the n-th. */
export function collect(emitter, event) {
  const seen = [];
  let wake = () => {};
  emitter.on(event, (...args) => {
    seen.push(args);
    wake();
  });
  const filled = async (n) => {
    while (seen.length < n) await new Promise((resolve) => { wake = resolve; });
  };
  return {
    seen,
    async until(n) {
      await within(filled(n), `${n} × "${event}"`).catch((error) => {
        throw new Error(`${error.message}, only ${seen.length} came`);
      });
      return seen;
    },
  };
}

// However this process ends, its servers end with it.
const children = new Set();
process.on('exit', () => { for (const child of children) child.kill('SIGKILL'); });
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => process.exit(1));

class RunningServer {
  constructor(child, url, output) {
    this.child = child;
    this.url = url;
    this.output = output;
    this.port = Number(new URL(url).port);
    this.exited = once(child, 'exit');
  }

  ws(route) {
    return this.url.replace(/^http/, 'ws') + route;
  }

  /** Sends the signal and waits for the end: `{ code, signal }`. */
  async stop(signal = 'SIGTERM') {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill(signal);
    try {
      const [code, by] = await within(this.exited, `server ends after ${signal}`, STOP_MS);
      return { code, signal: by };
    } catch (error) {
      this.child.kill('SIGKILL');
      throw error;
    }
  }
}

/** Starts it and waits for its address. Port 0: a free one. `first`: what comes before the options. */
export async function startServer(name, { first = [], args = [], port = 0, scheme = '' } = {}) {
  const [file, ...fixed] = program(name);
  const onCores = process.env.RINGHALL_CORES && !args.includes('--cores') ? ['--cores', `${cores}`] : [];
  const inside = process.env.RINGHALL_PORT && name === 'interop' ? ['--port', process.env.RINGHALL_PORT] : [];
  const parsing = isPacked && name === 'interop' ? ['--parser', 'msgpack'] : [];
  const child = spawn(file, [...fixed, ...first, '--listen', `${scheme}127.0.0.1:${port}`, ...args, ...onCores, ...inside, ...parsing], {
    cwd: repository,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.add(child);
  child.once('exit', () => children.delete(child));
  const output = [];
  const address = new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => reject(new Error(`${file} ended at once: ${code ?? signal}`)));
    createInterface({ input: child.stdout }).on('line', (line) => {
      output.push(line);
      const found = line.match(/https?:\/\/[^\s/]+/);
      if (found) resolve(found[0]);
    });
  });
  try {
    return new RunningServer(child, await within(address, `${file} prints its address`), output);
  } catch (error) {
    child.kill('SIGKILL');
    throw error;
  }
}

/** Clients of one test; `close` ends them all. */
export class Clients {
  #sockets = [];

  constructor(server) {
    this.server = server;
  }

  /** A socket on a connection of its own, not yet connected. */
  open(namespace = '/', options = {}) {
    const socket = io(this.server.url + namespace, {
      transports, forceBase64, parser, forceNew: true, reconnection: false, ...options,
    });
    this.#sockets.push(socket);
    return socket;
  }

  async connect(namespace, options) {
    return connected(this.open(namespace, options));
  }

  connectMany(count, namespace, options) {
    return Promise.all(Array.from({ length: count }, () => this.connect(namespace, options)));
  }

  /** One connection for several namespaces: `manager.socket("/chat")`. */
  manager(options = {}) {
    const manager = new Manager(this.server.url, { transports, forceBase64, parser, reconnection: false, ...options });
    this.#sockets.push({ disconnect: () => manager._close() });
    return manager;
  }

  close() {
    for (const socket of this.#sockets.splice(0)) socket.disconnect();
  }
}

/** Waits until the socket is connected; a refusal is an error. */
export async function connected(socket) {
  if (socket.connected) return socket;
  await within(new Promise((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('connect_error', (error) => {
      reject(new Error(`connect_error: ${error.message}`, { cause: error }));
    });
  }), 'connect');
  return socket;
}

/** The socket's websocket (of ws), once it has one. */
export async function webSocketOf(socket) {
  const { engine } = socket.io;
  if (engine.transport.name !== 'websocket') await next(engine, 'upgrade');
  return engine.transport.ws;
}

/** Breaks a connection: no close frame, or, while it polls, an end without a disconnect packet. */
export function cut(socket) {
  const { engine } = socket.io;
  if (engine.transport.name === 'websocket') engine.transport.ws.terminate();
  else engine.close();
}

/** `socket.emit(event, ...args)` with an acknowledgement: its first argument. */
export function call(socket, event, ...args) {
  return socket.timeout(PATIENCE_MS).emitWithAck(event, ...args);
}

/** Bytes that are not all alike, the same for the same seed. */
export function bytes(length, seed = 1) {
  const block = Buffer.alloc(Math.min(length, 65_521));
  let state = (seed * 2_654_435_761 + 1) >>> 0;
  for (let i = 0; i < block.length; i += 1) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    block[i] = state >>> 24;
  }
  return Buffer.alloc(length, block.length ? block : 0);
}
