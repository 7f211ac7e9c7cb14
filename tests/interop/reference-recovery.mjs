// The namespace of csr.test.mjs on Node's own server: what examples/interop/recovery.rs is on ours.

export function recovery(namespace) {
  namespace.use((socket, next) => {
    if (socket.handshake.auth.refused) return next(new Error('refused'));
    socket.asked = true;
    return next();
  });
  const tell = (receivers, { room, except, volatile, numbers }) => {
    let to = receivers;
    if (room) to = to.to(room);
    if (except) to = to.except(except);
    if (volatile) to = to.volatile;
    for (const number of numbers) to.emit('told', number);
  };
  namespace.on('connection', (socket) => {
    socket.on('state', (ack) => ack({
      id: socket.id,
      recovered: socket.recovered,
      rooms: [...socket.rooms].sort(),
      data: socket.data.value ?? null,
      asked: Boolean(socket.asked),
    }));
    socket.on('join', (room, ack) => { socket.join(room); ack(true); });
    socket.on('present', async (room, ack) => ack((await namespace.in(room).fetchSockets()).length));
    socket.on('data', (data, ack) => { socket.data.value = data; ack(true); });
    socket.on('tell', (told, ack) => { tell(namespace, told); ack(true); });
    socket.on('tell others', (told, ack) => { tell(socket.broadcast, told); ack(true); });
    socket.on('relay', (...args) => namespace.emit('told', ...args));
    socket.on('leave me', () => socket.disconnect());
  });
}
