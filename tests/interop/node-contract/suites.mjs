// The programs that the official suites talk to.

/** `sio-suite`. */
export function protocolSuite(io) {
  io.on('connection', (socket) => {
    socket.emit('auth', socket.handshake.auth);
    socket.on('message', (...args) => socket.emit('message-back', ...args));
    socket.on('message-with-ack', (...args) => args.pop()(...args));
  });
  io.of('/custom').on('connection', (socket) => socket.emit('auth', socket.handshake.auth));
}

export function clientSuiteGate(request, decide) {
  setTimeout(() => decide(null, true), 10);
}

const UTF8 = ['てすと', 'Я Б Г Д Ж Й', 'Ä ä Ü ü ß', 'utf8 — string', 'utf8 — string'];
const DOGE = Buffer.from('asdfasdf');
const DATE = '2015-01-02T03:04:05.000Z';

/** `client-suite`. */
export function clientSuite(io) {
  io.use((socket, next) => {
    next(socket.handshake.query.fail ? new Error('Auth failed (main namespace)') : undefined);
  });
  io.on('connection', (socket) => {
    simple(socket);
    binary(socket);
  });
  io.of('/foo').on('connection', (socket) => socket.on('getId', (ack) => ack(socket.id)));
  io.of('/abc').on('connection', (socket) => socket.emit('handshake', socket.handshake));
  io.of('/no').use((socket, next) => next(new Error('Auth failed (custom namespace)')));
  for (const name of ['/timeout_socket', '/valid', '/asd']) io.of(name);
}

function simple(socket) {
  socket.on('hi', () => socket.emit('hi'));
  socket.on('echo', (value, ack) => ack(value));
  socket.on('ack', () => socket.emit('ack', (number, object) => {
    if (number === 5 && object?.test === true) socket.emit('got it');
  }));
  socket.on('getAckDate', (anything, ack) => ack(new Date().toISOString()));
  socket.on('getDate', () => socket.emit('takeDate', DATE));
  socket.on('getDateObj', () => socket.emit('takeDateObj', { date: DATE }));
  socket.on('getUtf8', () => { for (const text of UTF8) socket.emit('takeUtf8', text); });
  socket.on('false', () => socket.emit('false', false));
  socket.on('getHandshake', (ack) => ack(socket.handshake));
  socket.on('getId', (ack) => ack(socket.id));
}

function binary(socket) {
  const is = Buffer.isBuffer;
  socket.on('doge', () => socket.emit('doge', DOGE));
  socket.on('getbin', () => socket.emit('takebin', DOGE));
  socket.on('buffa', (data) => { if (is(data)) socket.emit('buffack'); });
  socket.on('jsonbuff', (data) => {
    if (data?.hello === 'lol' && is(data.message) && data.goodbye === 'gotcha') socket.emit('jsonbuff-ack');
  });
  let abuff = false;
  socket.on('abuff1', (data) => { abuff = is(data); });
  socket.on('abuff2', () => { if (abuff) socket.emit('abuff2-ack'); });
  socket.on('blob', (data) => { if (is(data)) socket.emit('back'); });
  socket.on('jsonblob', (data) => { if (is(data?.message)) socket.emit('jsonblob-ack'); });
  let blobs = 0;
  socket.on('blob1', (data) => { blobs = is(data) ? 1 : 0; });
  socket.on('blob2', (data) => { blobs = blobs === 1 && data === 'second' ? 2 : 0; });
  socket.on('blob3', (data) => { if (blobs === 2 && is(data)) socket.emit('blob3-ack'); });
}
