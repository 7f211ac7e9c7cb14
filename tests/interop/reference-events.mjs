// The namespace of events.test.mjs on Node's own server: what examples/interop/events.rs is on ours.

const isNoted = (event) => !['notes', 'watch', 'unwatch'].includes(event);
const forbid = (event, forbidden) => (event === forbidden ? new Error(`${event} is forbidden`) : undefined);

export function events(namespace) {
  namespace.use((socket, next) => {
    const { name } = socket.handshake.auth;
    if (name === 'mallory') return next(Object.assign(new Error('not you'), { data: { code: 17 } }));
    socket.user = { name };
    return setImmediate(next);
  });
  namespace.use((socket, next) => {
    socket.notes = [];
    next();
  });
  namespace.on('connection', (socket) => {
    const note = (...args) => socket.notes.push(args.length === 1 ? args[0] : args);
    socket.onAny((event) => { if (isNoted(event)) note('any', event); });
    socket.prependAny((event) => { if (isNoted(event)) note('first', event); });
    socket.use(([event], next) => {
      if (isNoted(event)) note('gate', event);
      next(forbid(event, 'forbidden'));
    });
    socket.use(([event, , ms], next) => {
      if (event === 'slow gate') setTimeout(next, ms);
      else next();
    });
    socket.use(([event], next) => {
      if (isNoted(event)) note('own gate', event);
      next(forbid(event, 'not here'));
    });
    socket.on('error', (error) => {
      if (socket.conn.readyState !== 'open' || !/ is forbidden$/.test(error.message)) socket.broadcast.emit('broken', socket.id);
      else socket.emit('refused', error.message);
    });
    socket.on('several', () => note('one'));
    socket.on('several', (ack) => { note('two'); ack?.('answered'); });
    socket.on('several', () => note('own'));
    socket.once('several', () => note('once'));
    handlers(socket);
    talk(socket, note);
  });
}

function handlers(socket) {
  socket.on('notes', (ack) => ack(socket.notes.splice(0)));
  socket.on('off', (ack) => {
    socket.removeAllListeners('several');
    socket.offAny();
    ack(true);
  });
  for (const event of ['forbidden', 'not here']) socket.on(event, (ack) => ack?.('never'));
  socket.on('slow gate', (n, ms, ack) => ack(n));
  for (const event of ['slow', 'slow beside']) socket.on(event, (n, ms, ack) => setTimeout(ack, ms, n));
}

function talk(socket, note) {
  const { nsp } = socket;
  socket.on('watch', (ack) => {
    socket.onAnyOutgoing((event, ...args) => note('out', event, args.filter((arg) => typeof arg !== 'function')));
    ack(true);
  });
  socket.on('unwatch', (ack) => { socket.offAnyOutgoing(); ack(true); });
  socket.on('tell', (room, event, text, ack) => { (room ? nsp.to(room) : nsp).emit(event, text); ack(true); });
  socket.on('tell me', (event, text, ack) => { socket.emit(event, text); ack(true); });
  socket.on('ask me', async (ack) => ack(await socket.emitWithAck('question', 'how old')));
  socket.on('who am i', (ack) => ack(socket.user.name));
  socket.on('set data', (data, ack) => { socket.data = data; ack(true); });
  socket.on('data', (ack) => ack(socket.data));
  socket.on('all data', async (ack) => {
    const sockets = await nsp.fetchSockets();
    ack(Object.fromEntries(sockets.map(({ id, data }) => [id, data])));
  });
}
