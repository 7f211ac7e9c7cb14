// The contract program itself: its namespaces, and the standard handlers that all of them have.

const after = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });
const roomsOf = (socket) => [...socket.rooms].sort();

export function contract(io) {
  headers(io);
  const profile = { io, log: new Map(), clusterLog: [] };
  io.on('cluster-event', (value, ack) => {
    profile.clusterLog.push(value);
    ack?.(`re:${value}`);
  });
  for (const namespace of namespaces(io)) {
    namespace.on('connection', (socket) => standard(profile, socket));
  }
}

contract.gate = (request, decide) => {
  const { reject } = request._query;
  if (reject === 'msg') decide('no way', false);
  else decide(null, reject !== 'plain');
};

function headers(io) {
  io.engine.on('initial_headers', (sent) => { sent['x-initial'] = '1'; });
  io.engine.on('headers', (sent) => { sent['x-every'] = '1'; });
}

function namespaces(io) {
  const main = io.of('/');
  main.use((socket, next) => {
    Object.assign(socket, { mw: true, seenConnected: socket.connected });
    next();
  });
  const auth = io.of('/auth');
  auth.use((socket, next) => {
    socket.join('joined-in-middleware');
    if (socket.handshake.auth.token === 'secret') return next();
    const data = { code: 401, reason: 'bad token' };
    return next(Object.assign(new Error('not authorized'), { data }));
  });
  const slow = io.of('/slow');
  slow.use((socket, next) => { setTimeout(next, 200); });
  const ordered = io.of('/mw');
  for (const number of [1, 2, 3]) {
    ordered.use(async (socket, next) => {
      (socket.order ??= []).push(number);
      await after(5);
      next();
    });
  }
  const byPattern = io.of(/^\/dyn-[0-9]+$/);
  byPattern.use((socket, next) => next(socket.handshake.auth.deny ? new Error('denied') : undefined));
  const byFunction = io.of((name, { allow }, next) => next(null, name.startsWith('/fn-') && Boolean(allow)));
  return [main, io.of('/chat'), auth, slow, ordered, byPattern, byFunction];
}

function standard(profile, socket) {
  if (!profile.log.has(socket.id)) profile.log.set(socket.id, []);
  const entries = profile.log.get(socket.id);
  entries.push({ ev: 'connection', nsp: socket.nsp.name, recovered: socket.recovered });
  watched(socket, entries);
  echoes(socket);
  rooms(profile, socket);
  about(profile, socket);
  questions(socket);
  bursts(socket);
  onArrival(socket);
  socket.on('log', (id, ack) => ack?.(profile.log.get(id) ?? []));
  socket.on('emit-op', (spec, ack) => emitOp(socket, spec, ack));
  socket.on('room-op', async (spec, ack) => {
    const answer = await roomOp(socket.nsp, spec);
    ack?.(answer);
  });
  socket.on('disconnect-me', (close) => socket.disconnect(close));
  socket.on('close-server', () => { setTimeout(() => profile.io.close(), 20); });
}

function watched(socket, entries) {
  const seen = { in: [], out: [] };
  socket.onAny((event) => seen.in.push(event));
  socket.onAnyOutgoing((event) => seen.out.push(event));
  socket.on('any-log', (ack) => ack?.(seen));
  socket.use(([event], next) => next(event === 'blocked' ? new Error('blocked by middleware') : undefined));
  socket.on('blocked', () => entries.push({ ev: 'blocked-handler-ran' }));
  // A client may send an event of this name, too, with anything for an error.
  socket.on('error', (error) => entries.push({ ev: 'error', message: error?.message }));
  for (const ev of ['disconnecting', 'disconnect']) {
    socket.on(ev, (reason) => entries.push({ ev, reason, rooms: roomsOf(socket) }));
  }
}

function echoes(socket) {
  socket.on('echo', (...args) => socket.emit('echo', ...args));
  socket.on('echo-ack', (...args) => { if (typeof args.at(-1) === 'function') args.pop()(...args); });
  socket.on('no-ack', () => {});
  socket.on('double-ack', (value, ack) => { ack?.(value, 1); ack?.(value, 2); });
}

function rooms(profile, socket) {
  socket.on('join', (room, ack) => { socket.join(room); ack?.(roomsOf(socket)); });
  socket.on('leave', (room, ack) => { socket.leave(room); ack?.(roomsOf(socket)); });
  socket.on('rooms', (ack) => ack?.(roomsOf(socket)));
  socket.on('namespaces', (ack) => ack?.([...profile.io._nsps.keys()].sort()));
  socket.on('sse', (event, args, withAck, ack) => {
    if (withAck) {
      profile.io.serverSideEmit(event, ...args, (error, responses) => ack?.({ error: error?.message ?? null, responses }));
    } else {
      profile.io.serverSideEmit(event, ...args);
      ack?.({ error: null, responses: [] });
    }
  });
  socket.on('sse-log', (ack) => ack?.(profile.clusterLog));
}

function about(profile, socket) {
  socket.on('set-data', (values, ack) => { Object.assign(socket.data, values); ack?.(); });
  socket.on('info', (ack) => ack?.({
    id: socket.id,
    nsp: socket.nsp.name,
    recovered: socket.recovered,
    connected: socket.connected,
    transport: socket.conn.transport.name,
    data: socket.data,
    mw: socket.mw ?? false,
    order: socket.order ?? [],
    seenConnected: socket.seenConnected ?? false,
  }));
  socket.on('handshake', (ack) => {
    const { auth, query, headers: sent, url, secure, xdomain, address, issued, time } = socket.handshake;
    ack?.({ auth, query, headers: sent, url, secure, xdomain, address, issued, time });
  });
  const seq = { count: 0, inOrder: true };
  socket.on('seq', (number) => {
    seq.inOrder &&= number === seq.count;
    seq.count += 1;
  });
  socket.on('seq-report', (ack) => ack?.(seq));
}

function questions(socket) {
  socket.on('ask', (event, args, ms, ack) => {
    socket.timeout(ms).emit(event, ...args, (error, ...res) => ack?.({ error: error?.message ?? null, res }));
  });
  socket.on('ask-forever', (event, args, ack) => {
    socket.emit(event, ...args, (...res) => ack?.({ error: null, res }));
  });
}

function bursts(socket) {
  socket.on('burst', (count, size, ack) => {
    for (let i = 0; i < count; i += 1) socket.emit('burst', i, 'x'.repeat(size));
    ack?.(count);
  });
  socket.on('burst-bin', (count, size, ack) => {
    for (let i = 0; i < count; i += 1) socket.emit('burst-bin', i, Buffer.alloc(size, i & 255));
    ack?.(count);
  });
}

/** What the handshake's query asks for. */
async function onArrival(socket) {
  const { burst = 0, drip = 0 } = socket.handshake.query;
  for (let i = 0; i < Number(burst); i += 1) socket.emit('burst', i, 'x'.repeat(16));
  for (let i = 0; i < Number(drip) && socket.connected; i += 1) {
    socket.emit('drip', i);
    await after(1);
  }
}

function emitOp(socket, spec, ack) {
  const { from, to = [], except = [], volatile, local, compress, timeout, event, args = [] } = spec;
  let target = { nsp: socket.nsp, socket: socket.broadcast, self: socket }[from];
  if (from !== 'self' && to.length) target = target.to(to);
  if (from !== 'self' && except.length) target = target.except(except);
  if (volatile) target = target.volatile;
  if (local) target = target.local;
  if (compress !== undefined) target = target.compress(compress);
  if (timeout !== undefined) target = target.timeout(timeout);
  if (!spec.ack) {
    target.emit(event, ...args);
    return ack?.({ ok: true, error: null, responses: [] });
  }
  const report = (error, responses) => ack?.({ ok: !error, error: error?.message ?? null, responses });
  if (from !== 'self') return target.emit(event, ...args, report);
  // One socket answers with its arguments, behind an error only if there is a timeout; several with a list of first arguments.
  const one = timeout === undefined ? (answer) => report(null, [answer]) : (error, answer) => report(error, error ? [] : [answer]);
  return target.emit(event, ...args, one);
}

async function roomOp(namespace, { op, in: inside = [], except = [], rooms: names = [], close, local }) {
  let target = namespace;
  if (inside.length) target = target.in(inside);
  if (except.length) target = target.except(except);
  if (local) target = target.local;
  if (op === 'join') target.socketsJoin(names);
  if (op === 'leave') target.socketsLeave(names);
  if (op === 'disconnect') target.disconnectSockets(close);
  if (op !== 'fetch') return [];
  const sockets = await target.fetchSockets();
  return sockets
    .map((socket) => ({ id: socket.id, rooms: roomsOf(socket), data: socket.data, auth: socket.handshake.auth }))
    .sort((a, b) => (a.id < b.id ? -1 : 1));
}
