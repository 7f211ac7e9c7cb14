// A server that ends tells its clients, and they come back to the next one on the same port.

import assert from 'node:assert/strict';
import { after, afterEach, test } from 'node:test';
import WebSocket from 'ws';
import { call, Clients, isReference, needsWebSocket, next, startServer, webSocketOf } from './harness.mjs';

const running = new Set();
const closing = [];

async function start(port) {
  const server = await startServer('lobby', { port });
  running.add(server);
  return server;
}

async function stop(server, signal) {
  running.delete(server);
  return server.stop(signal);
}

afterEach(async () => {
  for (const clients of closing.splice(0)) clients.close();
  for (const server of running) await stop(server);
});
after(() => assert.equal(running.size, 0));

function clientsOf(server) {
  const clients = new Clients(server);
  closing.push(clients);
  return clients;
}

for (const signal of ['SIGTERM', 'SIGINT']) {
  test(`${signal}: 1001 to everyone, exit status 0, and the clients return to the next server`, async () => {
    const first = await start();
    const clients = clientsOf(first);
    const sockets = await clients.connectMany(20, '/', { reconnection: true, reconnectionDelay: 50, reconnectionDelayMax: 200 });
    if (!needsWebSocket) await Promise.all(sockets.map(webSocketOf));
    // And the server knows that each has gone over to it.
    await Promise.all(sockets.map((socket) => call(socket, 'rooms')));
    const ids = new Set(sockets.map(({ id }) => id));
    const partings = sockets.map((socket) => next(socket, 'disconnect'));
    const plain = new WebSocket(first.ws('/echo'));
    await next(plain, 'open');
    const plainEnd = next(plain, 'close');

    assert.deepEqual(await stop(first, signal), { code: 0, signal: null });
    for (const parting of partings) {
      const [reason, details] = await parting;
      // A client that polls, and is between two polls, finds nobody there any more.
      assert.ok(reason === 'transport close' || (needsWebSocket && reason === 'transport error'), reason);
      if (!needsWebSocket) assert.equal(details.context.code, 1001);
    }
    assert.equal((await plainEnd)[0], 1001);

    const second = await start(first.port);
    assert.equal(second.port, first.port);
    // An attempt that began before there was a server may still fail now.
    await Promise.all(sockets.map((socket) => socket.connected || next(socket, 'connect')));
    for (const { id } of sockets) assert.ok(!ids.has(id), 'a new socket has a new id');
    const [a, b] = sockets;
    const arrival = next(b, 'back');
    assert.equal(await call(a, 'back', 1), sockets.length - 1);
    assert.deepEqual(await arrival, [1]);
  });
}

test('what a client emits while there is no server arrives at the next one, in order', async () => {
  const first = await start();
  const clients = clientsOf(first);
  const a = await clients.connect('/', { reconnection: true, reconnectionDelay: 50, reconnectionDelayMax: 200 });
  const gone = next(a, 'disconnect');
  await stop(first);
  await gone;
  const answers = ['one', 'two', 'three'].map((room) => call(a, 'join', room));
  await start(first.port);
  const rooms = await Promise.all(answers);
  assert.deepEqual(rooms.map(({ length }) => length), [2, 3, 4]);
});

test('a server that ends while messages fly still ends', async () => {
  const server = await start();
  const clients = clientsOf(server);
  const sockets = await clients.connectMany(10, '/');
  const partings = sockets.map((socket) => next(socket, 'disconnect'));
  let flying = true;
  const pump = async (socket) => {
    while (flying && socket.connected) {
      socket.emit('noise', 'x'.repeat(1000));
      await new Promise(setImmediate);
    }
  };
  const pumps = sockets.map(pump);
  await next(sockets[0], 'noise');
  assert.deepEqual(await stop(server), { code: 0, signal: null });
  for (const parting of partings) assert.ok((await parting)[0].startsWith('transport '));
  flying = false;
  await Promise.all(pumps);
});

// Node's server waits half a minute for such a client.
const mayWait = isReference && 'Node waits for it';
test('a client that never reads and never closes does not hold the end up', { skip: mayWait }, async () => {
  const server = await start();
  const mute = new WebSocket(server.ws('/echo'));
  mute.on('error', () => {});
  await next(mute, 'open');
  mute.pause();
  mute.send(Buffer.alloc(8 * 1024 * 1024));
  try {
    assert.deepEqual(await stop(server), { code: 0, signal: null });
  } finally {
    mute.terminate();
  }
});
