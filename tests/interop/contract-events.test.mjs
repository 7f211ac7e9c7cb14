// The contract's standard handlers, one by one, on every profile that speaks Socket.IO in a way of its own.

import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import msgpack from 'socket.io-msgpack-parser';
import { startContract } from './contract.mjs';
import { bytes, call, collect, eventually, isReference, needsWebSocket, next, transports } from './harness.mjs';

let contract;

before(async () => { contract = await startContract(); });
afterEach(() => contract.closeClients());
after(() => contract?.stop());

/** Everything that an acknowledgement brings. */
const answers = (socket, event, ...args) => new Promise((resolve) => {
  socket.emit(event, ...args, (...got) => resolve(got));
});

/** What a client of the profile needs to say. */
const PROFILES = {
  main: {},
  fast: {},
  csr: {},
  msgpack: { parser: msgpack },
  eio3: {},
  alt: { path: '/rt' },
  wsonly: { transports: ['websocket'] },
  admin: {},
};
// Recovery ends events with an offset (protocol §18), which the client hands on.
const offsets = (profile) => (profile === 'csr' ? 1 : 0);

for (const [profile, options] of Object.entries(PROFILES)) {
  const skip = options.transports && needsWebSocket;
  describe(`${profile}: the core of it`, { skip }, () => {
    test('echo, echo-ack: text and binary, any number of arguments', async () => {
      const socket = await contract.connect(profile, '/', options);
      const args = [1, 'zwei', null, [true, { drei: [3.5] }], bytes(3000), { deep: [bytes(10), bytes(0)] }];
      const echoed = next(socket, 'echo');
      socket.emit('echo', ...args);
      const got = await echoed;
      assert.equal(got.length, args.length + offsets(profile));
      assert.deepEqual(got.slice(0, args.length), args);
      assert.deepEqual(await answers(socket, 'echo-ack', ...args), args);
      assert.deepEqual(await answers(socket, 'echo-ack'), []);
    });

    test('burst, burst-bin', async () => {
      const socket = await contract.connect(profile, '/chat', options);
      const texts = collect(socket, 'burst');
      assert.equal(await call(socket, 'burst', 100, 200), 100);
      assert.deepEqual(texts.seen.map(([i, text]) => [i, text]), Array.from({ length: 100 }, (_, i) => [i, 'x'.repeat(200)]));
      const binaries = collect(socket, 'burst-bin');
      assert.equal(await call(socket, 'burst-bin', 300, 50), 300);
      for (const [at, [i, data]] of binaries.seen.entries()) {
        assert.equal(i, at);
        assert.ok(Buffer.from(data).equals(Buffer.alloc(50, i & 255)), `burst-bin ${i}`);
      }
      assert.equal(binaries.seen.length, 300);
    });

    test('ask', async () => {
      const socket = await contract.connect(profile, '/mw', options);
      socket.on('question', (a, b, ack) => ack(a, b, 'answer'));
      const { error, res } = await call(socket, 'ask', 'question', ['x', bytes(5)], 5000);
      assert.deepEqual([error, res], [null, ['x', bytes(5), 'answer']]);
    });

    test('namespaces refuse, and tell', async () => {
      const refused = contract.clients(profile).open('/auth', options);
      const [error] = await next(refused, 'connect_error');
      assert.deepEqual([error.message, error.data], ['not authorized', { code: 401, reason: 'bad token' }]);
      const nowhere = contract.clients(profile).open('/nowhere', options);
      assert.equal((await next(nowhere, 'connect_error'))[0].message, 'Invalid namespace');
    });
  });
}

describe('standard handlers', () => {
  let socket;
  const fresh = async (namespace) => { socket = await contract.connect('main', namespace); };

  test('no-ack: nothing comes', async () => {
    await fresh();
    await assert.rejects(socket.timeout(200).emitWithAck('no-ack', 1), /operation has timed out/);
  });

  test('double-ack: the first counts', async () => {
    await fresh();
    assert.deepEqual(await answers(socket, 'double-ack', 'v'), ['v', 1]);
    const packets = [];
    socket.io.engine.on('packet', ({ type, data }) => { if (type === 'message') packets.push(data); });
    await answers(socket, 'double-ack', 'w');
    await call(socket, 'rooms');
    assert.deepEqual(packets.filter((data) => data.includes('"w"')).map((data) => data.replace(/^3\d+/, '')), ['["w",1]']);
  });

  test('join, leave, rooms', async () => {
    await fresh('/chat');
    assert.deepEqual(await call(socket, 'rooms'), [socket.id]);
    assert.deepEqual(await call(socket, 'join', 'b'), ['b', socket.id].sort());
    assert.deepEqual(await call(socket, 'join', ['a', 'c', 'b']), ['a', 'b', 'c', socket.id].sort());
    assert.deepEqual(await call(socket, 'leave', 'b'), ['a', 'c', socket.id].sort());
    assert.deepEqual(await call(socket, 'leave', 'never'), ['a', 'c', socket.id].sort());
    assert.deepEqual(await call(socket, 'leave', socket.id), ['a', 'c']);
    assert.deepEqual(await call(socket, 'rooms'), ['a', 'c']);
  });

  test('set-data: merged, and seen by info', async () => {
    await fresh();
    assert.deepEqual(await answers(socket, 'set-data', { a: 1, b: { c: 2 } }), []);
    await call(socket, 'set-data', { b: 3, d: ['x'] });
    assert.deepEqual((await call(socket, 'info')).data, { a: 1, b: 3, d: ['x'] });
  });

  test('info: all of it', async () => {
    await fresh('/mw');
    const info = await call(socket, 'info');
    if (transports.length === 1) {
      assert.deepEqual(info, {
        id: socket.id, nsp: '/mw', recovered: false, connected: true, transport: transports[0], data: {}, mw: false, order: [1, 2, 3], seenConnected: false,
      });
    }
    assert.deepEqual(Object.keys(info).sort(), ['connected', 'data', 'id', 'mw', 'nsp', 'order', 'recovered', 'seenConnected', 'transport']);
  });

  test('ask: a client that is late or silent', async () => {
    await fresh();
    assert.deepEqual(await call(socket, 'ask', 'unheard', [], 100), { error: 'operation has timed out', res: [] });
    socket.on('late', (ack) => { setTimeout(ack, 300, 'late'); });
    assert.deepEqual(await call(socket, 'ask', 'late', [], 50), { error: 'operation has timed out', res: [] });
    assert.deepEqual(await call(socket, 'ask', 'late', [], 5000), { error: null, res: ['late'] });
  });

  test('ask: questions overlap', async () => {
    await fresh();
    socket.on('in', (ms, ack) => { setTimeout(ack, ms, ms); });
    const order = [];
    await Promise.all([120, 60, 1].map(async (ms) => {
      order.push((await call(socket, 'ask', 'in', [ms], 5000)).res[0]);
    }));
    assert.deepEqual(order, [1, 60, 120]);
  });

  test('ask-forever', async () => {
    await fresh();
    socket.on('thinking', (value, ack) => { setTimeout(ack, 200, value, 'thought'); });
    assert.deepEqual(await call(socket, 'ask-forever', 'thinking', ['x']), { error: null, res: ['x', 'thought'] });
    await assert.rejects(socket.timeout(200).emitWithAck('ask-forever', 'unheard', []), /timed out/);
  });

  test('seq, seq-report', async () => {
    await fresh();
    for (let i = 0; i < 200; i += 1) socket.emit('seq', i);
    const report = await call(socket, 'seq-report');
    assert.deepEqual([report.count, report.inOrder], [200, true]);
    socket.emit('seq', 7);
    assert.equal((await call(socket, 'seq-report')).inOrder, false);
  });

  test('any-log: what came in and what went out', async () => {
    await fresh();
    const other = await contract.connect('main');
    await call(socket, 'join', 'any');
    socket.emit('unknown', 1);
    socket.emit('blocked');
    socket.emit('echo', 1);
    await next(socket, 'echo');
    await call(other, 'emit-op', { from: 'nsp', to: ['any'], event: 'told' });
    await call(socket, 'rooms');
    assert.deepEqual(await call(socket, 'any-log'), {
      in: ['join', 'unknown', 'blocked', 'echo', 'rooms', 'any-log'],
      out: ['echo', 'told'],
    });
  });

  test('blocked: an error, and the handler does not run', async () => {
    await fresh();
    socket.emit('blocked', 1);
    const quiet = socket.timeout(300).emitWithAck('blocked', 2);
    await assert.rejects(quiet, /timed out/);
    assert.deepEqual(await call(socket, 'log', socket.id), [
      { ev: 'connection', nsp: '/', recovered: false },
      { ev: 'error', message: 'blocked by middleware' },
      { ev: 'error', message: 'blocked by middleware' },
    ]);
  });

  test('log: of a socket that never was', async () => {
    await fresh();
    assert.deepEqual(await call(socket, 'log', 'nobody'), []);
  });

  test('unknown events are ignored', async () => {
    await fresh();
    await assert.rejects(socket.timeout(200).emitWithAck('what?', 1), /timed out/);
    assert.equal((await call(socket, 'info')).connected, true);
  });

  test('sse, sse-log: without other servers', async () => {
    await fresh();
    assert.deepEqual(await call(socket, 'sse', 'cluster-event', ['x'], false), { error: null, responses: [] });
    assert.deepEqual(await call(socket, 'sse-log'), []);
    // Node's adapter in memory never answers this.
    if (!isReference) assert.deepEqual(await call(socket, 'sse', 'cluster-event', ['x'], true), { error: null, responses: [] });
  });

  test('all namespaces have them', async () => {
    const connect = { '/auth': { auth: { token: 'secret' } }, '/fn-x': { auth: { allow: true } } };
    for (const namespace of ['/', '/chat', '/auth', '/slow', '/mw', '/dyn-3', '/fn-x']) {
      await contract.connect('main', namespace, connect[namespace]).then((one) => { socket = one; });
      assert.deepEqual(await answers(socket, 'echo-ack', namespace, bytes(4)), [namespace, bytes(4)]);
      assert.deepEqual((await call(socket, 'log', socket.id))[0], { ev: 'connection', nsp: namespace, recovered: false });
      assert.equal((await call(socket, 'handshake')).url.startsWith('/socket.io/'), true);
    }
  });
});

describe('admin', () => {
  test('credentials are asked for; who has them is told of sockets', async () => {
    const refused = contract.clients('admin').open('/admin', { auth: { username: 'admin', password: 'wrong' } });
    assert.equal((await next(refused, 'connect_error'))[0].message, 'invalid credentials');
    const member = await contract.connect('admin', '/chat');
    const admin = contract.clients('admin').open('/admin', { auth: { username: 'admin', password: 'changeit' } });
    const all = next(admin, 'all_sockets');
    const config = next(admin, 'config');
    await next(admin, 'connect');
    assert.ok((await config)[0].supportedFeatures.includes('ALL_EVENTS'));
    assert.ok((await all)[0].some(({ id, nsp }) => id === member.id && nsp === '/chat'));
    const joined = next(admin, 'room_joined');
    await call(member, 'join', 'seen');
    assert.deepEqual((await joined).slice(0, 3), ['/chat', 'seen', member.id]);
    const stats = await next(admin, 'server_stats');
    assert.equal(stats[0].serverId !== undefined, true);
    await eventually(() => member.connected, (is) => is, 'still there');
  });
});
