// The programs of the official suites: Engine.IO echo in both revisions, `sio-suite`, `client-suite`; and clients of Socket.IO 2 on `eio3`.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { after, afterEach, before, describe, test } from 'node:test';
import { openSession, poll, startContract } from './contract.mjs';
import { bytes, call, collect, eventually, isReference, needsWebSocket, next, transports } from './harness.mjs';

const require = createRequire(import.meta.url);
const { Socket: EngineClient } = require('engine.io-client');
const engine3 = require('engine.io-client-3');
const io2 = require('socket.io-client-2');

let contract;
const closers = [];

before(async () => { contract = await startContract(); });
afterEach(() => {
  contract.closeClients();
  for (const close of closers.splice(0)) close();
});
after(() => contract?.stop());

describe('eio-suite, eio-v3-suite', () => {
  const ECHOES = [
    ['eio-suite', (url) => new EngineClient(url, { path: '/engine.io', transports })],
    ['eio-v3-suite', (url) => new EngineClient(url, { path: '/engine.io', transports })],
    ['eio-v3-suite, revision 3', (url) => engine3(url, { path: '/engine.io', transports })],
  ];
  for (const [name, open] of ECHOES) {
    test(`${name}: what comes in goes out, and nothing else does`, async () => {
      const session = open(contract.url(name.split(',')[0]));
      closers.push(() => session.close());
      const arrivals = collect(session, 'message');
      await next(session, 'open');
      const messages = ['text', '', 'é\u{1F600}', bytes(1000), 'x'.repeat(50_000)];
      for (const message of messages) session.send(message);
      const seen = await arrivals.until(messages.length);
      // The client hands on nothing for an empty message.
      assert.deepEqual(seen.map(([data = '']) => (typeof data === 'string' ? data : Buffer.from(data))), messages);
    });

    test(`${name}: the heart beats`, async () => {
      const session = open(contract.url(name.split(',')[0]));
      closers.push(() => session.close());
      const beats = collect(session, name.includes('revision 3') ? 'pong' : 'ping');
      await beats.until(3);
      assert.equal(session.readyState, 'open');
    });
  }

  test('eio-suite: revision 3 is refused', async () => {
    const { status, body } = await poll(contract.url('eio-suite'), { path: '/engine.io/', query: { EIO: '3' } });
    assert.deepEqual([status, JSON.parse(body).code], [400, 5]);
  });
});

describe('sio-suite', () => {
  test('/: auth, message, message-with-ack', async () => {
    const socket = contract.clients('sio-suite').open('/', { auth: { token: '123', data: bytes(4).toString('hex') } });
    const auth = next(socket, 'auth');
    await next(socket, 'connect');
    assert.deepEqual(await auth, [{ token: '123', data: bytes(4).toString('hex') }]);
    const back = next(socket, 'message-back');
    socket.emit('message', 1, '2', { 3: [true] }, bytes(9));
    assert.deepEqual(await back, [1, '2', { 3: [true] }, bytes(9)]);
    const answer = await new Promise((resolve) => {
      socket.emit('message-with-ack', 1, bytes(9), [2], (...args) => resolve(args));
    });
    assert.deepEqual(answer, [1, bytes(9), [2]]);
  });

  test('/custom: auth; nowhere else', async () => {
    const socket = contract.clients('sio-suite').open('/custom');
    assert.deepEqual(await next(socket, 'auth'), [{}]);
    const back = collect(socket, 'message-back');
    socket.emit('message', 1);
    await next(socket.io.engine, 'ping');
    assert.equal(back.seen.length, 0);
    const nowhere = contract.clients('sio-suite').open('/random');
    const [error] = await next(nowhere, 'connect_error');
    assert.deepEqual([error.message, error.data], ['Invalid namespace', undefined]);
  });

  test('who does not connect in time is put out', async () => {
    const url = contract.url('sio-suite');
    const { sid } = await openSession(url);
    let pings = 0;
    await eventually(async () => {
      const { status, body } = await poll(url, { query: { sid } });
      if (body === '2') {
        pings += 1;
        await poll(url, { query: { sid }, method: 'POST', body: '3' });
      }
      return status === 400 || body.split('\x1e').includes('1');
    }, (over) => over, 'its end');
    assert.ok(pings >= 2, `${pings} pings`);
  });
});

describe('client-suite', () => {
  let socket;
  const fresh = async (...args) => { socket = await contract.connect('client-suite', ...args); };
  const told = async (event, ...args) => {
    const arrival = next(socket, event);
    socket.emit(...args);
    return (await arrival).slice(0, 1);
  };

  test('what it is told', async () => {
    await fresh();
    assert.deepEqual((await told('hi', 'hi')).filter((arg) => typeof arg !== 'string'), []);
    assert.equal(await call(socket, 'echo', 123), 123);
    assert.match(await call(socket, 'getAckDate', { any: 1 }), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    assert.match((await told('takeDate', 'getDate'))[0], /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    assert.match((await told('takeDateObj', 'getDateObj'))[0].date, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    assert.deepEqual(await told('false', 'false'), [false]);
    assert.equal(await call(socket, 'getId'), socket.id);
  });

  test('getUtf8', async () => {
    await fresh();
    const texts = collect(socket, 'takeUtf8');
    socket.emit('getUtf8');
    const seen = await texts.until(5);
    assert.deepEqual(seen.map(([text]) => text), ['てすと', 'Я Б Г Д Ж Й', 'Ä ä Ü ü ß', 'utf8 — string', 'utf8 — string']);
  });

  test('binary, from it', async () => {
    await fresh();
    assert.deepEqual(await told('doge', 'doge'), [Buffer.from('asdfasdf')]);
    assert.deepEqual(await told('takebin', 'getbin'), [Buffer.from('asdfasdf')]);
  });

  test('binary, to it', async () => {
    await fresh();
    await told('buffack', 'buffa', bytes(5));
    await told('jsonbuff-ack', 'jsonbuff', { hello: 'lol', message: bytes(5), goodbye: 'gotcha' });
    socket.emit('abuff1', bytes(5));
    await told('abuff2-ack', 'abuff2', 'please arrive second');
    await told('back', 'blob', bytes(5));
    await told('jsonblob-ack', 'jsonblob', { hello: 'lol', message: bytes(5), goodbye: 'gotcha' });
    socket.emit('blob1', bytes(5));
    socket.emit('blob2', 'second');
    await told('blob3-ack', 'blob3', bytes(5));
  });

  test('what is not as it should be is not answered', async () => {
    await fresh();
    const answers = ['buffack', 'jsonbuff-ack', 'abuff2-ack', 'back', 'jsonblob-ack', 'blob3-ack', 'got it'].map((event) => collect(socket, event));
    socket.emit('buffa', 'text');
    socket.emit('jsonbuff', { hello: 'no', message: bytes(5), goodbye: 'gotcha' });
    socket.emit('abuff2', 'first');
    socket.emit('blob', 'text');
    socket.emit('jsonblob', { message: 'text' });
    socket.emit('blob1', bytes(5));
    socket.emit('blob3', bytes(5));
    socket.on('ack', (ack) => ack(6));
    socket.emit('ack');
    socket.emit('nothing', 1);
    await call(socket, 'echo', 'behind all of them');
    assert.deepEqual(answers.map(({ seen }) => seen.length), answers.map(() => 0));
  });

  test('ack, got it', async () => {
    await fresh();
    socket.on('ack', (ack) => ack(5, { test: true }));
    await told('got it', 'ack');
  });

  test('getHandshake', async () => {
    await fresh('/', { auth: { a: 1 }, query: { q: 'x y' } });
    const handshake = await call(socket, 'getHandshake');
    assert.deepEqual([handshake.auth, handshake.query.q, handshake.query.EIO], [{ a: 1 }, 'x y', '4']);
  });

  test('/foo, /abc, and those that do nothing', async () => {
    await fresh('/foo');
    assert.equal(await call(socket, 'getId'), socket.id);
    const abc = contract.clients('client-suite').open('/abc', { query: { q: '1' }, auth: { b: 2 } });
    const [handshake] = await next(abc, 'handshake');
    assert.deepEqual([handshake.query.q, handshake.auth], ['1', { b: 2 }]);
    for (const name of ['/timeout_socket', '/valid', '/asd']) await fresh(name);
  });

  test('refusals', async () => {
    const refusal = async (name, options) => {
      const [error] = await next(contract.clients('client-suite').open(name, options), 'connect_error');
      return error.message;
    };
    assert.equal(await refusal('/', { query: { fail: 'true' } }), 'Auth failed (main namespace)');
    assert.equal(await refusal('/no'), 'Auth failed (custom namespace)');
    assert.equal(await refusal('/invalid'), 'Invalid namespace');
    await fresh('/', { query: { fail: '' } });
  });

  test('recovery is on', async () => {
    const url = contract.url('client-suite');
    const { sid } = await openSession(url);
    await poll(url, { query: { sid }, method: 'POST', body: '40' });
    const { body } = await poll(url, { query: { sid } });
    assert.deepEqual(Object.keys(JSON.parse(body.slice(2))), ['sid', 'pid']);
  });
});

describe('eio3: clients of Socket.IO 2', () => {
  function open(namespace, options) {
    const socket = io2(contract.url('eio3') + namespace, { transports, forceNew: true, reconnection: false, ...options });
    closers.push(() => socket.close());
    return socket;
  }
  const answers = (socket, event, ...args) => new Promise((resolve) => {
    socket.emit(event, ...args, (...got) => resolve(got));
  });

  test('the standard handlers', async () => {
    const socket = open('/chat?token=abc');
    await next(socket, 'connect');
    assert.deepEqual(await answers(socket, 'echo-ack', 1, [bytes(20)], 'é'), [1, [bytes(20)], 'é']);
    const [info] = await answers(socket, 'info');
    assert.deepEqual([info.nsp, info.connected], ['/chat', true]);
    assert.deepEqual((await answers(socket, 'handshake'))[0].auth, { token: 'abc' });
    const [rooms] = await answers(socket, 'join', 'r');
    assert.ok(rooms.includes('r'));
  });

  test('a client of each generation hears the other', async () => {
    const old = open('/');
    await next(old, 'connect');
    const today = await contract.connect('eio3');
    const heard = next(old, 'told');
    assert.equal((await call(today, 'emit-op', { from: 'socket', event: 'told', args: [1, bytes(3)] })).ok, true);
    assert.deepEqual(await heard, [1, bytes(3)]);
    const back = next(today, 'told');
    await answers(old, 'emit-op', { from: 'socket', event: 'told', args: ['back'] });
    assert.deepEqual(await back, ['back']);
  });

  test('a refusal is the data of it, or its message', async () => {
    const socket = open('/auth');
    const [error] = await next(socket, 'error');
    assert.deepEqual(error, { code: 401, reason: 'bad token' });
    const nowhere = open('/nowhere');
    // What Socket.IO 2 said, and its clients expect. In Node's server of today this one refusal is an object.
    const why = 'Invalid namespace';
    assert.deepEqual((await next(nowhere, 'error'))[0], isReference ? { message: why } : why);
  });

  test('a websocket alone', { skip: needsWebSocket }, async () => {
    const socket = open('/', { transports: ['websocket'] });
    await next(socket, 'connect');
    assert.equal((await answers(socket, 'info'))[0].transport, 'websocket');
  });
});
