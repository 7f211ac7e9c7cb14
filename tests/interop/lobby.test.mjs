// The development lobby of the `ringhall` binary, seen by the official client.

import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import {
  bytes, call, Clients, collect, connected, cut, eventually, needsWebSocket, next, startServer, transports, webSocketOf,
} from './harness.mjs';

let server;
let clients;

before(async () => {
  server = await startServer('lobby');
  clients = new Clients(server);
});
afterEach(() => clients.close());
after(() => server?.stop());

// One namespace for each test: no socket of another test hears it.
let namespaces = 0;
const freshNamespace = () => `/lobby-${(namespaces += 1)}`;

test('a client connects, over a websocket sooner or later, and gets an id', async () => {
  const socket = await clients.connect('/');
  if (!needsWebSocket) await webSocketOf(socket);
  assert.equal(socket.io.engine.transport.name, transports.at(-1));
  assert.match(socket.id, /^[\w-]{20}$/);
  assert.notEqual(socket.id, socket.io.engine.id, 'the session id is a secret and not the socket id');
});

test('any event reaches everyone else, with its arguments, and not the sender', async () => {
  const [a, b, c] = await clients.connectMany(3, freshNamespace());
  const args = [
    'text', '', 'Grüße, 世界, 😀, \u2028, \u0000, "quoted" \\ and \u001e', 0, -1.5, 1e300, 2 ** 53 - 1, true, false, null,
    [], {}, [1, [2, [3]]], { deep: { er: [{ x: null }] }, __proto: 1, 'key with "quotes"': '\n' },
  ];
  const echoes = collect(a, 'news');
  const arrivals = [b, c].map((socket) => next(socket, 'news'));
  a.emit('news', ...args);
  for (const arrival of arrivals) assert.deepEqual(await arrival, args);
  b.emit('over');
  await next(a, 'over');
  assert.equal(echoes.seen.length, 0);
});

test('an event without arguments, with an odd name, or with a number as its name', async () => {
  const [a, b] = await clients.connectMany(2, freshNamespace());
  for (const name of ['x', '', 'name with spaces', 'café ☕', '"', '__proto__', 'error', 'connection', '42', '[', ',']) {
    const arrival = next(b, name);
    a.emit(name);
    assert.deepEqual(await arrival, [], JSON.stringify(name));
  }
});

test('events of one socket arrive in order, in both directions at once', async () => {
  const [a, b] = await clients.connectMany(2, freshNamespace());
  const [atA, atB] = [collect(a, 'n'), collect(b, 'n')];
  const count = 2000;
  for (let i = 0; i < count; i += 1) {
    a.emit('n', i, 'x'.repeat(i % 300));
    b.emit('n', i, 'y'.repeat(i % 300));
  }
  for (const [at, letter] of [[atA, 'y'], [atB, 'x']]) {
    const seen = await at.until(count);
    assert.deepEqual(seen, Array.from({ length: count }, (_, i) => [i, letter.repeat(i % 300)]));
  }
});

test('an acknowledgement tells the number of receivers', async () => {
  const namespace = freshNamespace();
  const a = await clients.connect(namespace);
  assert.equal(await call(a, 'anyone?'), 0);
  await clients.connectMany(3, namespace);
  assert.equal(await call(a, 'anyone?', { now: true }), 3);
});

test('acknowledgements find their callers, with and without a timeout', async () => {
  const a = await clients.connect(freshNamespace());
  const b = await clients.connect(freshNamespace());
  const answers = await Promise.all(Array.from({ length: 100 }, (_, i) => (
    call(a, i % 2 ? 'leave' : 'join', `room-${i}`)
  )));
  answers.forEach((rooms, i) => assert.equal(rooms.includes(`room-${i}`), i % 2 === 0, `answer ${i}`));
  assert.deepEqual(await b.emitWithAck('rooms'), [b.id]);
});

test('a client whose own timeout is over hears so once, and the late answer changes nothing', { skip: needsWebSocket }, async () => {
  const a = await clients.connect(freshNamespace());
  let answers = 0;
  const ws = await webSocketOf(a);
  ws.pause(); // the answer waits until the client reads again
  const error = await new Promise((resolve) => {
    a.timeout(1).emit('rooms', (err) => { answers += 1; resolve(err); });
  });
  ws.resume();
  assert.match(error.message, /timed out/);
  assert.deepEqual(await call(a, 'rooms'), [a.id]);
  assert.equal(answers, 1);
});

test('ten attachments are relayed byte for byte', async () => {
  const [a, b] = await clients.connectMany(2, freshNamespace());
  // Together, in base64, less than a POST may hold: the official client does not split one that has an empty attachment.
  const sizes = [0, 1, 125, 126, 127, 1000, 65_535, 65_536, 100_000, 500_000];
  const parts = sizes.map((size, i) => bytes(size, i + 1));
  const arrival = next(b, 'files');
  a.emit('files', 'before', parts.slice(0, 4), { nested: { deep: parts.slice(4) } }, 'after');
  const [before_, first, { nested }, after_] = await arrival;
  assert.deepEqual([before_, after_], ['before', 'after']);
  [...first, ...nested.deep].forEach((part, i) => {
    assert.ok(Buffer.isBuffer(part));
    assert.ok(part.equals(parts[i]), `attachment of ${sizes[i]} bytes`);
  });
});

test('binary both ways, acknowledged, and mixed with text in order', async () => {
  const [a, b] = await clients.connectMany(2, freshNamespace());
  const [atA, atB] = [collect(a, 'mix'), collect(b, 'mix')];
  const count = 300;
  for (let i = 0; i < count; i += 1) {
    a.emit('mix', i, i % 3 ? bytes(i, i) : 'text');
    b.emit('mix', i, i % 2 ? new Uint8Array(bytes(i, i)) : { view: bytes(i * 10, i) });
  }
  (await atB.until(count)).forEach(([i, value], at) => {
    assert.equal(i, at);
    if (i % 3) assert.ok(value.equals(bytes(i, i)));
    else assert.equal(value, 'text');
  });
  (await atA.until(count)).forEach(([i, value], at) => {
    assert.equal(i, at);
    assert.ok((i % 2 ? value : value.view).equals(bytes(i % 2 ? i : i * 10, i)));
  });
  assert.equal(await call(a, 'one more', bytes(10)), 1);
});

test('what only looks like an attachment stays what it is', async () => {
  const [a, b] = await clients.connectMany(2, freshNamespace());
  const lookAlike = { _placeholder: true, num: 0 };
  const arrival = next(b, 'look');
  a.emit('look', lookAlike);
  assert.deepEqual(await arrival, [lookAlike]);
});

test('eleven attachments are a protocol error: the whole session ends', async () => {
  const [a, b] = await clients.connectMany(2, freshNamespace());
  const heard = collect(b, 'files');
  const gone = next(a, 'disconnect');
  a.emit('files', Array.from({ length: 11 }, (_, i) => bytes(10, i)));
  // Over polling the rest may be on its way in a POST, which is refused.
  const expected = transports.includes('polling') ? /^transport (close|error)$/ : /^transport close$/;
  assert.match((await gone)[0], expected);
  const c = await clients.connect(b.nsp);
  c.emit('over');
  await next(b, 'over');
  assert.equal(heard.seen.length, 0);
});

test('several namespaces over one connection', async () => {
  const names = [freshNamespace(), freshNamespace(), freshNamespace()];
  const manager = clients.manager();
  const inside = await Promise.all(names.map((name) => connected(manager.socket(name))));
  const outside = await Promise.all(names.map((name) => clients.connect(name)));
  assert.equal(new Set([...inside, ...outside].map((socket) => socket.id)).size, 6);

  const heard = inside.map((socket) => collect(socket, 'hello'));
  for (const [i, socket] of outside.entries()) assert.equal(await call(socket, 'hello', names[i]), 1);
  for (const [i, at] of heard.entries()) assert.deepEqual(await at.until(1), [[names[i]]]);

  inside[0].disconnect();
  await eventually(() => call(outside[0], 'hello'), (n) => n === 0, 'the left namespace is empty');
  assert.equal(await call(outside[1], 'hello'), 1, 'its neighbours stay');
  assert.ok(inside[1].connected && inside[2].connected);
  await connected(inside[0].connect());
  assert.equal(await call(outside[0], 'hello'), 1, 'and it can be joined again');
});

test('a namespace with a query is another namespace; an unusual name is a name', async () => {
  for (const suffix of ['?x=1', '/deeper', '-ünïcode']) {
    const plain = freshNamespace();
    const name = plain + suffix;
    const manager = clients.manager();
    const [a, b] = await Promise.all([plain, name].map((nsp) => connected(manager.socket(nsp))));
    assert.equal(await call(a, 'heard?'), 0, name);
    assert.equal(await call(b, 'heard?'), 0, name);
  }
});

test('rooms: join, leave and rooms answer what the socket is in', async () => {
  const a = await clients.connect(freshNamespace());
  const sorted = (...rooms) => [...rooms, a.id].sort();
  assert.deepEqual(await call(a, 'rooms'), sorted());
  assert.deepEqual(await call(a, 'join', 'red'), sorted('red'));
  assert.deepEqual(await call(a, 'join', 'blue'), sorted('red', 'blue'));
  assert.deepEqual(await call(a, 'join', 'red'), sorted('red', 'blue'), 'joining twice is joining once');
  assert.deepEqual(await call(a, 'leave', 'red'), sorted('blue'));
  assert.deepEqual(await call(a, 'leave', 'never joined'), sorted('blue'));
  assert.deepEqual(await call(a, 'join', 'ré"d\n'), sorted('blue', 'ré"d\n'));
  assert.deepEqual(await call(a, 'rooms'), sorted('blue', 'ré"d\n'));
});

test('to: the members of the room hear it, the sender and the others do not', async () => {
  const [a, b, c, d] = await clients.connectMany(4, freshNamespace());
  for (const socket of [a, b, c]) await call(socket, 'join', 'red');
  await call(d, 'join', 'blue');
  const heard = [a, b, c, d].map((socket) => collect(socket, 'paint'));
  assert.equal(await call(a, 'to', 'red', 'paint', 1, bytes(100)), 2);
  assert.equal(await call(d, 'to', 'red', 'paint', 2), 3, 'a sender outside the room');
  assert.equal(await call(a, 'to', 'nobody', 'paint', 3), 0);
  assert.equal(await call(a, 'to', d.id, 'paint', 4), 1, 'a socket id is a room');
  await call(c, 'leave', 'red');
  assert.equal(await call(a, 'to', 'red', 'paint', 5), 1);
  for (const socket of [a, b, c, d]) await call(socket, 'rooms'); // what was sent before the answer has arrived
  assert.deepEqual(heard.map((at) => at.seen.map(([n]) => n)), [[2], [1, 2, 5], [1, 2], [4]]);
});

test('the same room name in two namespaces is two rooms', async () => {
  const [a, b] = [await clients.connect(freshNamespace()), await clients.connect(freshNamespace())];
  await call(a, 'join', 'red');
  await call(b, 'join', 'red');
  assert.equal(await call(a, 'to', 'red', 'paint'), 0);
});

test('a client that disconnects is gone from its rooms and may come back as a new one', async () => {
  const [a, b] = await clients.connectMany(2, freshNamespace());
  await call(b, 'join', 'red');
  const id = b.id;
  const left = next(b, 'disconnect');
  b.disconnect();
  assert.equal((await left)[0], 'io client disconnect');
  await eventually(() => call(a, 'to', 'red', 'paint'), (n) => n === 0, 'the room is empty');
  await eventually(() => call(a, 'anyone?'), (n) => n === 0, 'the namespace is empty');
  await connected(b.connect());
  assert.notEqual(b.id, id);
  assert.deepEqual(await call(b, 'rooms'), [b.id], 'rooms do not survive');
});

test('a client whose connection breaks is gone too', async () => {
  const [a, b] = await clients.connectMany(2, freshNamespace());
  await call(b, 'join', 'red');
  cut(b);
  await eventually(() => call(a, 'to', 'red', 'paint'), (n) => n === 0, 'the room is empty');
});

test('a will is said to everyone else when its socket goes, whether it leaves or breaks', async () => {
  const [a, stranger] = await clients.connectMany(2, freshNamespace());
  const heard = collect(a, 'gone');
  for (const [i, end] of [(socket) => socket.disconnect(), cut].entries()) {
    const will = ['gone', { n: i, list: [1, 'ü'] }];
    end(await clients.connect(a.nsp, { auth: { will } }));
    assert.deepEqual((await heard.until(i + 1)).at(-1), [will[1]]);
  }
  // What is no will, or has a name that nobody may emit, is nobody's concern.
  for (const will of ['gone', [], ['gone'], ['disconnect', 1], [7, 7], null]) {
    (await clients.connect(a.nsp, { auth: { will } })).disconnect();
  }
  stranger.disconnect();
  await eventually(() => call(a, 'anyone?'), (n) => n === 0, 'they are gone');
  assert.equal(heard.seen.length, 2);
});

test('what was emitted before connecting, and the arguments of connect, arrive', async () => {
  const namespace = freshNamespace();
  const b = await clients.connect(namespace);
  const a = clients.open(namespace, { auth: { token: 'any "token"' }, query: { who: 'me & you' } });
  const arrival = next(b, 'early');
  a.emit('early', bytes(5000));
  await connected(a);
  assert.ok((await arrival)[0].equals(bytes(5000)));
});

test('a hundred clients connect at once and all hear the same', async () => {
  const namespace = freshNamespace();
  const all = await clients.connectMany(100, namespace);
  assert.equal(new Set(all.map((socket) => socket.id)).size, 100);
  const arrivals = all.slice(1).map((socket) => next(socket, 'all'));
  assert.equal(await call(all[0], 'all', 'hear', bytes(1000)), 99);
  for (const arrival of arrivals) assert.ok((await arrival)[1].equals(bytes(1000)));
});
