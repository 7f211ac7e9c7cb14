#!/usr/bin/env node
// The same programs as `ringhall` (--program lobby) and `examples/interop` (--program interop), each with `examples/engine_echo.rs` beside
// it, on Node's own socket.io, engine.io and ws. `npm run reference` runs every suite against it: what passes there is Socket.IO's behaviour and
// not ours by accident.

import { readFileSync } from 'node:fs';
import http from 'node:http';
import { parseArgs } from 'node:util';
import { instrument } from '@socket.io/admin-ui';
import * as engine from 'engine.io';
import { Server } from 'socket.io';
import msgpack from 'socket.io-msgpack-parser';
import { WebSocketServer } from 'ws';
import { events } from './reference-events.mjs';
import { recovery as recoverable } from './reference-recovery.mjs';

const { values: options } = parseArgs({
  options: {
    program: { type: 'string', default: 'lobby' },
    listen: { type: 'string', default: '127.0.0.1:0' },
    cores: { type: 'string' }, // accepted, without a meaning here
    'max-message': { type: 'string', default: String(16 * 1024 * 1024) },
    'ping-interval': { type: 'string', default: '25000' },
    'ping-timeout': { type: 'string', default: '20000' },
    'allow-eio3': { type: 'boolean', default: false },
    production: { type: 'boolean', default: false },
    readonly: { type: 'boolean', default: false },
    recovery: { type: 'string' },
    parser: { type: 'string', default: 'default' },
  },
});

const page = readFileSync(new URL('../../src/gateway/page.html', import.meta.url));
const web = http.createServer((request, response) => {
  if (request.url !== '/') return response.writeHead(404).end();
  return response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end(page);
});

const sessions = {
  destroyUpgrade: false,
  pingInterval: Number(options['ping-interval']),
  pingTimeout: Number(options['ping-timeout']),
  allowEIO3: options['allow-eio3'],
};
const cors = options.program === 'admin' ? { cors: { origin: true, credentials: true } } : {};
const parser = options.parser === 'msgpack' ? { parser: msgpack } : {};
const recovery = options.recovery && { connectionStateRecovery: { maxDisconnectionDuration: Number(options.recovery) } };
const io = new Server(web, { ...sessions, ...cors, ...parser, ...recovery });

const bare = engine.attach(web, { ...sessions, path: '/engine.io' });
bare.on('connection', (session) => session.on('message', (data) => session.send(data)));

const echo = new WebSocketServer({ noServer: true, maxPayload: Number(options['max-message']) });
echo.on('connection', (connection) => {
  connection.on('error', () => {}); // the close code says it to the peer
  connection.on('message', (data, binary) => connection.send(data, { binary }));
});
web.on('upgrade', (request, stream, head) => {
  const { pathname } = new URL(request.url, 'http://reference');
  if (/^\/(socket|engine)\.io\//.test(pathname)) return;
  if (pathname !== '/echo') return void stream.end('HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n');
  echo.handleUpgrade(request, stream, head, (connection) => echo.emit('connection', connection));
});

const roomsOf = (socket) => [...socket.rooms].sort();
const takeAck = (args) => (typeof args.at(-1) === 'function' ? args.pop() : undefined);

function rooms(socket) {
  socket.on('join', (room, ack) => { socket.join(room); ack?.(roomsOf(socket)); });
  socket.on('leave', (room, ack) => { socket.leave(room); ack?.(roomsOf(socket)); });
  socket.on('rooms', (ack) => ack?.(roomsOf(socket)));
}

const lobbyEvents = new Set(['join', 'leave', 'rooms', 'to']);

async function relay(socket, target, event, args) {
  const ack = takeAck(args);
  const receivers = ack && (await target.fetchSockets()).length;
  target.emit(event, ...args);
  ack?.(receivers);
}

function lobby(socket) {
  rooms(socket);
  socket.on('to', (room, event, ...args) => relay(socket, socket.to(room), event, args));
  socket.onAny((event, ...args) => {
    if (!lobbyEvents.has(event)) relay(socket, socket.broadcast, event, args);
  });
  socket.on('disconnecting', () => {
    const { will } = socket.handshake.auth;
    if (will?.length !== 2 || typeof will[0] !== 'string') return;
    try { socket.broadcast.emit(...will); } catch { /* a reserved name */ }
  });
}

const log = new Map();

function emitOp(socket, { from, to = [], except = [], volatile, local, event, args = [] }) {
  let target = { nsp: socket.nsp, socket: socket.broadcast, self: socket }[from];
  if (to.length) target = target.to(to);
  if (except.length) target = target.except(except);
  if (volatile) target = target.volatile;
  if (local) target = target.local;
  target.emit(event, ...args);
}

function interop(socket) {
  const entries = [];
  log.set(socket.id, entries);
  for (const ev of ['disconnecting', 'disconnect']) {
    socket.on(ev, (reason) => entries.push({ ev, reason, rooms: roomsOf(socket) }));
  }
  rooms(socket);
  socket.on('echo', (...args) => socket.emit('echo', ...args));
  socket.on('echo-ack', (...args) => takeAck(args)?.(...args));
  socket.on('ask', (event, args, ms, ack) => {
    socket.timeout(ms).emit(event, ...args, (error, ...res) => ack({ error: error ? error.message : null, res }));
  });
  socket.on('wander', async (number, ack) => {
    await new Promise(setImmediate);
    socket.emit('wandered', number);
    ack?.(number);
  });
  socket.on('burst-bin', (n, size) => {
    for (let i = 0; i < n; i += 1) socket.emit('burst-bin', i, Buffer.alloc(size, i & 255));
  });
  socket.on('emit-op', (spec, ack) => { emitOp(socket, spec); ack?.({ ok: true }); });
  socket.on('disconnect-me', (close) => socket.disconnect(close));
  socket.on('who-am-i', (ack) => ack({ id: socket.id, auth: socket.handshake.auth }));
  socket.on('log', (id, ack) => ack(log.get(id) ?? []));
}

// examples/admin.rs
function watched(socket) {
  rooms(socket);
  socket.on('hello', (ack) => ack('hello'));
  socket.on('say', (...args) => socket.emit('said', ...args));
  socket.on('set-data', (data, ack) => { Object.assign(socket.data, data); ack?.(); });
}

const operator = (socket, { others, to = [], except = [], local, timeout }) => {
  let target = others ? socket.broadcast : socket.nsp.except([]);
  if (to.length) target = target.to(to);
  if (except.length) target = target.except(except);
  if (local) target = target.local;
  return timeout === undefined ? target : target.timeout(timeout);
};
const beginning = (prefix) => ([name]) => name.startsWith(prefix);
const sorted = (entries) => Object.fromEntries([...entries].map(([name, all]) => [name, [...all].sort()]));

function roomLog(namespace) {
  const happened = [];
  for (const what of ['create', 'join', 'leave', 'delete']) {
    namespace.adapter.on(`${what}-room`, (room, id = null) => happened.push([what, room, id]));
  }
  return happened;
}

function operators(socket, happened) {
  const { nsp } = socket;
  socket.on('set-data', (data, ack) => { socket.data = data; ack(true); });
  socket.on('ask-all', (all, ack) => {
    const done = (error, responses) => ack({ error: error ? error.message : null, responses });
    operator(socket, { timeout: 10_000, ...all }).emit(all.event, ...(all.args ?? []), done);
  });
  socket.on('ask-remote', async (id, event, args, ms, ack) => {
    const [remote] = await nsp.in(id).fetchSockets();
    if (!remote) return ack({ error: null, responses: [] });
    return remote.timeout(ms).emit(event, ...args, (error, response) => (
      ack({ error: error ? error.message : null, responses: error ? [] : [response] })
    ));
  });
  socket.on('room-op', async (all, ack) => {
    const target = operator(socket, all);
    if (all.op === 'join') target.socketsJoin(all.rooms);
    else if (all.op === 'leave') target.socketsLeave(all.rooms);
    else if (all.op === 'disconnect') target.disconnectSockets(all.close);
    const found = all.op === 'fetch' ? await target.fetchSockets() : [];
    ack(found.map(({ id, rooms: joined, data, handshake }) => ({ id, rooms: [...joined].sort(), data, auth: handshake.auth }))
      .sort((a, b) => (a.id < b.id ? -1 : 1)));
  });
  socket.on('join-and-tell', (ids, room, event) => {
    ids.forEach((id) => nsp.in(id).socketsJoin(room));
    nsp.to(room).emit(event, ids.length);
  });
  socket.on('rooms-of-all', (prefix, ack) => ack(sorted([...nsp.adapter.rooms].filter(beginning(prefix)))));
  socket.on('sids-of', (ids, ack) => ack(sorted([...nsp.adapter.sids].filter(([id]) => ids.includes(id)))));
  socket.on('room-log', (prefix, ack) => ack(happened.filter(([, room]) => room.startsWith(prefix))));
}

/** What examples/interop/admission.rs does. */
function admission() {
  const gates = new Map();
  const gate = (name) => {
    if (!gates.has(name)) gates.set(name, { permits: 0, waiting: [], count: 0 });
    return gates.get(name);
  };
  const pass = async (name) => {
    const here = gate(name);
    here.count += 1;
    if (here.permits > 0) here.permits -= 1;
    else await new Promise((resolve) => { here.waiting.push(resolve); });
    here.count -= 1;
  };
  const release = (name) => {
    const next = gate(name).waiting.shift();
    if (next) next();
    else gate(name).permits += 1;
  };
  const tally = new Map();
  const count = (socket, what) => {
    const { wait } = socket.handshake.auth;
    if (!tally.has(wait)) tally.set(wait, [0, 0]);
    tally.get(wait)[what] += 1;
  };
  const announced = [];

  const guarded = io.of('/guarded');
  guarded.use((socket, next) => {
    socket.join('newcomers');
    socket.data.passed = ['first'];
    next();
  });
  guarded.use(async (socket, next) => {
    socket.data.passed.push('second');
    socket.emit('early', socket.connected, 'before');
    const { wait, token } = socket.handshake.auth;
    if (wait) await pass(wait);
    if (token === 'secret') return next();
    if (token === undefined) return next(new Error('no token'));
    return next(Object.assign(new Error('not with this token'), { data: { code: 401, token } }));
  });
  guarded.use((socket, next) => {
    socket.data.passed.push('third');
    next();
  });
  guarded.on('connection', (socket) => {
    count(socket, 0);
    socket.on('disconnect', () => count(socket, 1));
    socket.on('passed', (ack) => ack(socket.data.passed));
    interop(socket);
  });

  const rooms = io.of(/^\/room-\d+$/);
  rooms.on('connection', interop);
  io.of((name, { wait, token }, next) => {
    if (!name.startsWith('/team-')) return next(null, false);
    return Promise.resolve(wait && pass(wait)).then(() => next(null, token === 'secret'));
  }).on('connection', interop);

  io.on('new_namespace', (namespace) => announced.push(namespace.name));
  io.on('connection', (socket) => {
    socket.on('announced', (ack) => ack(announced));
    socket.on('namespaces', (ack) => ack([...io._nsps.keys()].sort()));
    socket.on('tell-rooms', (room, event, args, ack) => {
      (room ? rooms.to(room) : rooms).emit(event, ...args);
      ack(true);
    });
    socket.on('release', (name, ack) => { release(name); ack(true); });
    socket.on('waiting', (name, ack) => ack(gate(name).count));
    socket.on('tally', (name, ack) => ack(tally.get(name) ?? [0, 0]));
  });
}

if (options.program === 'admin') {
  for (const name of ['/', '/chat']) io.of(name).on('connection', watched);
  instrument(io, {
    auth: { type: 'basic', username: 'admin', password: '$2b$10$heqvAkYMez.Va6Et2uXInOnkCT6/uQj1brkrbyG3LpopDklcq7ZOS' },
    mode: options.production ? 'production' : 'development',
    readonly: options.readonly,
  });
} else if (options.program === 'lobby') {
  io.of('/').on('connection', lobby);
  io.of((name, auth, next) => next(null, true)).on('connection', lobby);
} else {
  for (const name of ['/', '/chat', '/other']) {
    const happened = roomLog(io.of(name));
    io.of(name).on('connection', (socket) => {
      interop(socket);
      operators(socket, happened);
    });
  }
  admission();
  events(io.of('/events'));
  recoverable(io.of('/recovery'));
}

function shutDown() {
  for (const session of [...Object.values(io.engine.clients), ...Object.values(bare.clients)]) {
    if (session.transport.name === 'websocket') session.transport.socket.close(1001);
    else session.close(true);
  }
  for (const connection of echo.clients) connection.close(1001);
  web.close(() => process.exit(0));
  web.closeAllConnections(); // the plain requests; the websockets end with their close frames
}
process.on('SIGTERM', shutDown);
process.on('SIGINT', shutDown);

const [host, port] = options.listen.split(':');
web.listen(Number(port), host, () => console.log(`listening on http://${host}:${web.address().port}`));
