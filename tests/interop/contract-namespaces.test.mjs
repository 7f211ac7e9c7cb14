// The contract's namespaces and their middlewares, and how connections end: what the log says.

import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { openSession, poll, sleep, startContract } from './contract.mjs';
import { call, cut, eventually, needsWebSocket, next, transports, webSocketOf, within } from './harness.mjs';

let contract;

before(async () => { contract = await startContract(); });
afterEach(() => contract.closeClients());
after(() => contract?.stop());

/** Why a client was refused. */
async function refusal(namespace, options, profile = 'main') {
  const socket = contract.clients(profile).open(namespace, options);
  const [error] = await next(socket, 'connect_error');
  return { message: error.message, data: error.data };
}

/** The log of a socket once it has so many entries. */
const logged = (socket, id, count) => eventually(() => call(socket, 'log', id), ({ length }) => length >= count, `${count} entries`);

describe('namespaces', () => {
  test('/: a middleware ran, and the socket was not yet connected', async () => {
    const info = await call(await contract.connect('main'), 'info');
    assert.deepEqual([info.nsp, info.mw, info.seenConnected, info.connected, info.recovered], ['/', true, false, true, false]);
  });

  test('/chat: plain', async () => {
    const socket = await contract.connect('main', '/chat');
    const info = await call(socket, 'info');
    assert.deepEqual([info.id, info.nsp, info.mw, info.order], [socket.id, '/chat', false, []]);
  });

  test('/auth: refused with message and data; the room of its middleware is left', async () => {
    const expected = { message: 'not authorized', data: { code: 401, reason: 'bad token' } };
    assert.deepEqual(await refusal('/auth', {}), expected);
    assert.deepEqual(await refusal('/auth', { auth: { token: 'wrong' } }), expected);
    const socket = await contract.connect('main', '/auth', { auth: { token: 'secret' } });
    assert.deepEqual(await call(socket, 'rooms'), [socket.id, 'joined-in-middleware'].sort());
    const members = await call(socket, 'room-op', { op: 'fetch', in: ['joined-in-middleware'] });
    assert.deepEqual(members.map(({ id }) => id), [socket.id]);
  });

  test('/auth: a session that was refused may try again', async () => {
    const manager = contract.clients('main').manager();
    const socket = manager.socket('/auth', { auth: { token: 'wrong' } });
    await next(socket, 'connect_error');
    socket.auth = { token: 'secret' };
    const connected = next(socket, 'connect');
    socket.connect();
    await connected;
    assert.deepEqual((await call(socket, 'handshake')).auth, { token: 'secret' });
  });

  test('/slow: is waited for, and disturbs nobody', async () => {
    const manager = contract.clients('main').manager();
    const main = manager.socket('/');
    await next(main, 'connect');
    const began = performance.now();
    const slow = manager.socket('/slow');
    const connected = next(slow, 'connect');
    assert.equal((await call(main, 'info')).nsp, '/');
    await connected;
    assert.ok(performance.now() - began >= 195);
    assert.equal((await call(slow, 'info')).nsp, '/slow');
  });

  test('/slow: a client that is gone meanwhile never was there', async () => {
    const witness = await contract.connect('main', '/slow');
    const leaver = contract.clients('main').open('/slow');
    await next(leaver.io, 'open');
    await sleep(50);
    cut(leaver);
    await sleep(400);
    const present = await call(witness, 'room-op', { op: 'fetch' });
    assert.deepEqual(present.map(({ id }) => id), [witness.id]);
  });

  test('/mw: middlewares in order', async () => {
    assert.deepEqual((await call(await contract.connect('main', '/mw'), 'info')).order, [1, 2, 3]);
  });

  test('dynamic, by pattern', async () => {
    const socket = await contract.connect('main', '/dyn-42');
    assert.equal((await call(socket, 'info')).nsp, '/dyn-42');
    assert.deepEqual(await refusal('/dyn-1', { auth: { deny: true } }), { message: 'denied', data: undefined });
    for (const name of ['/dyn-', '/dyn-1x', '/x/dyn-1']) {
      assert.deepEqual(await refusal(name), { message: 'Invalid namespace', data: undefined }, name);
    }
  });

  test('dynamic, by function', async () => {
    const socket = await contract.connect('main', '/fn-anything', { auth: { allow: 1 } });
    assert.equal((await call(socket, 'info')).nsp, '/fn-anything');
    assert.deepEqual(await refusal('/fn-else'), { message: 'Invalid namespace', data: undefined });
    assert.deepEqual(await refusal('/gn-else', { auth: { allow: true } }), { message: 'Invalid namespace', data: undefined });
  });

  test('no other name', async () => {
    for (const name of ['/nothing', '/chat/', '/chat?x=1']) {
      const socket = contract.clients('main').open('/', {});
      socket.nsp = name;
      const [error] = await next(socket, 'connect_error');
      assert.equal(error.message, 'Invalid namespace', name);
    }
  });

  test('namespaces: those that exist; children are made on demand and stay', async () => {
    const socket = await contract.connect('closing');
    const fixed = ['/', '/auth', '/chat', '/mw', '/slow'];
    assert.deepEqual(await call(socket, 'namespaces'), fixed);
    const child = await contract.connect('closing', '/dyn-7');
    assert.deepEqual(await call(socket, 'namespaces'), [...fixed, '/dyn-7'].sort());
    const { id } = child;
    child.disconnect();
    await logged(socket, id, 3);
    assert.deepEqual(await call(socket, 'namespaces'), [...fixed, '/dyn-7'].sort());
  });

  test('alt: an empty child is cleaned up', async () => {
    const options = { path: '/rt' };
    const socket = await contract.connect('alt', '/', options);
    const exist = (count) => eventually(() => call(socket, 'namespaces'), ({ length }) => length === count, `${count} namespaces`);
    const child = await contract.connect('alt', '/dyn-7', options);
    const second = await contract.connect('alt', '/dyn-7', options);
    await exist(6);
    child.disconnect();
    await call(second, 'rooms');
    await exist(6);
    second.disconnect();
    await exist(5);
    assert.deepEqual(await refusal('/dyn-8', { ...options, auth: { deny: true } }, 'alt'), { message: 'denied', data: undefined });
    await exist(5);
    assert.equal((await call(await contract.connect('alt', '/dyn-7', options), 'info')).nsp, '/dyn-7');
  });

  test('many namespaces on one connection, each with an id of its own', async () => {
    const manager = contract.clients('main').manager();
    const sockets = ['/', '/chat', '/mw', '/dyn-1'].map((name) => manager.socket(name));
    await Promise.all(sockets.map((socket) => next(socket, 'connect')));
    const infos = await Promise.all(sockets.map((socket) => call(socket, 'info')));
    assert.deepEqual(infos.map(({ id }) => id), sockets.map(({ id }) => id));
    assert.equal(new Set(infos.map(({ id }) => id)).size, 4);
  });
});

describe('connection', () => {
  test('log: the connection, and what the handshake\'s query asks for', async () => {
    const socket = contract.clients('main').open('/chat', { query: { burst: 5 } });
    const burst = [];
    socket.on('burst', (i, text) => burst.push([i, text]));
    await next(socket, 'connect');
    assert.deepEqual(await call(socket, 'log', socket.id), [{ ev: 'connection', nsp: '/chat', recovered: false }]);
    assert.deepEqual(burst, [0, 1, 2, 3, 4].map((i) => [i, 'x'.repeat(16)]));
  });

  test('drip: one after the other, until all are there', async () => {
    const socket = contract.clients('main').open('/', { query: { drip: 50 } });
    const drips = [];
    const all = new Promise((resolve) => {
      socket.on('drip', (i) => { if (drips.push(i) === 50) resolve(); });
    });
    await within(all, '50 drips');
    assert.deepEqual(drips, Array.from({ length: 50 }, (_, i) => i));
  });

  test('drip: or until the client is gone', async () => {
    const socket = await contract.connect('main', '/', { query: { drip: 1_000_000 } });
    await next(socket, 'drip');
    const { id } = socket;
    socket.disconnect();
    const witness = await contract.connect('main');
    await logged(witness, id, 3);
  });

  test('handshake', async () => {
    const socket = await contract.connect('main', '/chat', {
      auth: { user: 'ann', n: [1] }, query: { a: 'x y+&é', a2: '' }, extraHeaders: { 'X-Custom': 'Yes', origin: 'http://page.example' },
    });
    const got = await call(socket, 'handshake');
    assert.deepEqual(got.auth, { user: 'ann', n: [1] });
    assert.equal(got.query.a, 'x y+&é');
    assert.equal(got.query.a2, '');
    assert.equal(got.query.EIO, '4');
    assert.equal(got.query.transport, transports[0]);
    assert.equal(got.headers['x-custom'], 'Yes');
    assert.match(got.url, /^\/socket\.io\/\?/);
    assert.deepEqual([got.secure, got.xdomain], [false, true]);
    assert.match(got.address, /127\.0\.0\.1$/);
    assert.ok(Math.abs(Date.now() - got.issued) < 60_000, `issued ${got.issued}`);
    assert.equal(new Date(got.time).getTime(), Math.floor(got.issued / 1000) * 1000);
    assert.match(got.time, /^[A-Z][a-z]{2} [A-Z][a-z]{2} \d\d \d{4} \d\d:\d\d:\d\d GMT[+-]\d{4}/);
    const plain = await call(await contract.connect('main'), 'handshake');
    assert.deepEqual([plain.auth, plain.xdomain], [{}, false]);
  });

  test('info: the transport, before and after an upgrade', async () => {
    const socket = await contract.connect('main');
    if (transports.length > 1) await webSocketOf(socket);
    await eventually(() => call(socket, 'info'), ({ transport }) => transport === transports.at(-1), 'the last transport');
  });
});

/** How the socket's end is logged, and how the client hears of it. */
async function parting(part, { profile = 'main', namespace = '/', rooms = ['r1'] } = {}) {
  const witness = await contract.connect(profile, namespace);
  const socket = await contract.connect(profile, namespace);
  if (!needsWebSocket) await webSocketOf(socket);
  for (const room of rooms) await call(socket, 'join', room);
  const { id } = socket;
  const gone = next(socket, 'disconnect');
  part(socket);
  const [heard] = await gone;
  const entries = await eventually(() => call(witness, 'log', id), (log) => log.at(-1).ev === 'disconnect', 'its end');
  return { heard, own: [id, ...rooms].sort(), entries: entries.slice(1) };
}

const ends = (reason, own) => [{ ev: 'disconnecting', reason, rooms: own }, { ev: 'disconnect', reason, rooms: [] }];

describe('partings', () => {
  test('the client leaves', async () => {
    const { heard, own, entries } = await parting((socket) => socket.disconnect());
    assert.equal(heard, 'io client disconnect');
    assert.deepEqual(entries, ends('client namespace disconnect', own));
  });

  for (const close of [false, true]) {
    test(`disconnect-me(${close})`, async () => {
      const { heard, own, entries } = await parting((socket) => socket.emit('disconnect-me', close), { namespace: '/chat' });
      assert.equal(heard, 'io server disconnect');
      assert.deepEqual(entries, ends('server namespace disconnect', own));
    });
  }

  test('disconnect-me(true) ends all of the connection, disconnect-me(false) one namespace', async () => {
    const manager = contract.clients('main').manager();
    const [main, chat, other] = ['/', '/chat', '/mw'].map((name) => manager.socket(name));
    await Promise.all([main, chat, other].map((socket) => next(socket, 'connect')));
    const first = next(other, 'disconnect');
    other.emit('disconnect-me', false);
    await first;
    assert.equal((await call(main, 'info')).connected, true);
    const both = [main, chat].map((socket) => next(socket, 'disconnect'));
    chat.emit('disconnect-me', true);
    assert.deepEqual((await Promise.all(both)).map(([reason]) => reason), ['io server disconnect', 'io server disconnect']);
  });

  test('the engine is closed by the client', async () => {
    const { own, entries } = await parting((socket) => socket.io.engine.close());
    assert.deepEqual(entries, ends('transport close', own));
  });

  test('the connection breaks', { skip: needsWebSocket }, async () => {
    const { own, entries } = await parting((socket) => socket.io.engine.transport.ws.terminate());
    assert.deepEqual(entries, ends('transport close', own));
  });

  test('a message over the limit', { skip: needsWebSocket }, async () => {
    const { own, entries } = await parting((socket) => socket.emit('echo', 'x'.repeat(20_000)), { profile: 'fast' });
    assert.deepEqual(entries, ends('transport error', own));
  });

  test('no pong', { skip: needsWebSocket }, async () => {
    const { own, entries } = await parting((socket) => {
      const { engine } = socket.io;
      engine.transport.ws.send = () => {};
      setTimeout(() => engine.transport.ws.terminate(), 1500);
    }, { profile: 'fast' });
    assert.deepEqual(entries, ends('ping timeout', own));
  });

  test('an unknown packet of Engine.IO', { skip: needsWebSocket }, async () => {
    const { own, entries } = await parting((socket) => socket.io.engine.transport.ws.send('9'));
    assert.deepEqual(entries, ends('parse error', own));
  });

  test('a broken packet of Socket.IO: an error, and the whole session ends', { skip: needsWebSocket }, async () => {
    const { own, entries } = await parting((socket) => socket.io.engine.transport.ws.send('42["a"'));
    const [{ ev, message }, ...rest] = entries;
    assert.deepEqual([ev, typeof message], ['error', 'string']);
    assert.deepEqual(rest, ends('forced close', own));
  });

  test('an event for a namespace that was never entered ends the session', { skip: needsWebSocket }, async () => {
    const { own, entries } = await parting((socket) => socket.io.engine.transport.ws.send('42/chat,["a"]'));
    assert.deepEqual(entries, ends('forced close', own));
  });

  test('a close packet on polling', async () => {
    const url = contract.url('main');
    const { sid } = await openSession(url);
    await poll(url, { query: { sid }, method: 'POST', body: '40' });
    const { body } = await poll(url, { query: { sid } });
    const { sid: id } = JSON.parse(body.slice(2));
    await poll(url, { query: { sid }, method: 'POST', body: '1' });
    const log = await logged(await contract.connect('main'), id, 3);
    assert.deepEqual(log.slice(1), ends('transport close', [id]));
  });
});

describe('close-server', () => {
  // Each takes a server with it, so that it has one for itself.
  test('all sockets end, and the port is free', async () => {
    const own = await startContract();
    try {
      const sockets = await Promise.all(['/', '/chat', '/'].map((name) => own.connect('closing', name)));
      if (!needsWebSocket) await Promise.all(sockets.map(webSocketOf));
      await Promise.all(sockets.map((socket) => call(socket, 'rooms')));
      const gone = Promise.all(sockets.map((socket) => next(socket, 'disconnect')));
      sockets[0].emit('close-server');
      for (const [reason] of await gone) assert.equal(reason, 'transport close');
      await eventually(
        () => fetch(own.url('closing')).then(() => 'answers', () => 'refused'),
        (outcome) => outcome === 'refused',
        'the listener closes',
      );
      assert.equal((await call(await own.connect('main'), 'info')).connected, true, 'the other profiles go on');
    } finally {
      await own.stop();
    }
  });
});
