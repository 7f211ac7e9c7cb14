// What a program built on the library can do (examples/interop), seen by the official client:
// the server asks and the client answers, addressing with to / except / volatile / local, and every way to part.

import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import msgpack from 'socket.io-msgpack-parser';
import {
  bytes, call, Clients, collect, connected, cores, eventually, isPacked, isReference, needsWebSocket, next, startServer, transports, webSocketOf,
} from './harness.mjs';

let server;
let clients;

before(async () => {
  server = await startServer('interop', { args: ['--cores', `${cores}`] });
  clients = new Clients(server);
});
afterEach(() => clients.close());
after(() => server?.stop());

/**
 * Resolves when all that the server sent to these sockets before now has arrived, on whatever core: what one core has
 * posted to another before a client could know of it is delivered before that client's next request is handled.
 */
const settled = (...sockets) => Promise.all(sockets.map((socket) => call(socket, 'rooms')));

describe('the server speaks', () => {
  test('echo: a plain emit back, with ten attachments', async () => {
    const socket = await clients.connect();
    const parts = Array.from({ length: 10 }, (_, i) => bytes(i * 1000, i));
    const answer = next(socket, 'echo');
    socket.emit('echo', 1, 'zwei', parts, null, { three: [3] });
    const [one, two, received, nothing, object] = await answer;
    assert.deepEqual([one, two, nothing, object], [1, 'zwei', null, { three: [3] }]);
    received.forEach((part, i) => assert.ok(part.equals(parts[i]), `attachment ${i}`));
  });

  test('echo-ack: an acknowledgement with any number of arguments, text and binary', async () => {
    const socket = await clients.connect();
    const ask = (...args) => new Promise((resolve) => {
      socket.emit('echo-ack', ...args, (...answer) => resolve(answer));
    });
    assert.deepEqual(await ask(), []);
    assert.deepEqual(await ask(1, 'a', null, [{}]), [1, 'a', null, [{}]]);
    const [text, { part }] = await ask('x', { part: bytes(70_000) });
    assert.equal(text, 'x');
    assert.ok(part.equals(bytes(70_000)));
  });

  test('burst-bin: many binary events keep their order and their attachments', async () => {
    const socket = await clients.connect();
    const arrivals = collect(socket, 'burst-bin');
    socket.emit('burst-bin', 500, 2000);
    (await arrivals.until(500)).forEach(([i, data], at) => {
      assert.equal(i, at);
      assert.ok(data.equals(Buffer.alloc(2000, i & 255)), `burst ${i}`);
    });
  });

  test('nothing was asked for an acknowledgement, nothing is answered', async () => {
    const socket = await clients.connect();
    const packets = [];
    socket.io.engine.on('packet', ({ type, data }) => { if (type === 'message') packets.push(data); });
    socket.emit('echo-ack', 1);
    socket.emit('join', 'quietly');
    assert.deepEqual(await call(socket, 'rooms'), [socket.id, 'quietly'].sort());
    assert.equal(packets.length, 1);
  });
});

describe('the server asks', () => {
  test('and the client answers, with text and with binary', async () => {
    const socket = await clients.connect();
    socket.on('sum', (a, b, answer) => answer(a + b));
    assert.deepEqual(await call(socket, 'ask', 'sum', [1, 2], 10_000), { error: null, res: [3] });
    socket.on('nothing', (answer) => answer());
    assert.deepEqual(await call(socket, 'ask', 'nothing', [], 10_000), { error: null, res: [] });
    socket.on('several', (answer) => answer(1, [2], { three: null }));
    assert.deepEqual(await call(socket, 'ask', 'several', [], 10_000), { error: null, res: [1, [2], { three: null }] });
    socket.on('reverse', (data, answer) => answer({ back: Buffer.from(data).reverse() }, bytes(10)));
    const { error, res } = await call(socket, 'ask', 'reverse', [bytes(3000)], 10_000);
    assert.equal(error, null);
    assert.ok(res[0].back.equals(bytes(3000).reverse()));
    assert.ok(res[1].equals(bytes(10)));
  });

  test('many questions at once find their own answers', async () => {
    const socket = await clients.connect();
    const waiting = [];
    socket.on('double', (n, answer) => {
      waiting.push(() => answer(n * 2));
      if (waiting.length === 100) waiting.reverse().forEach((reply) => reply());
    });
    const answers = await Promise.all(Array.from({ length: 100 }, (_, n) => call(socket, 'ask', 'double', [n], 20_000)));
    answers.forEach(({ error, res }, n) => assert.deepEqual({ error, res }, { error: null, res: [n * 2] }));
  });

  test('and does not wait for ever; a late answer changes nothing', async () => {
    const socket = await clients.connect();
    let answerLate;
    socket.on('think', (answer) => { answerLate = answer; });
    assert.deepEqual(await call(socket, 'ask', 'think', [], 50), { error: 'operation has timed out', res: [] });
    answerLate('too late');
    assert.deepEqual(await call(socket, 'rooms'), [socket.id]);
  });

  test('answers to questions nobody asked are ignored', async () => {
    const socket = await clients.connect();
    for (const id of [0, 7, 2 ** 53 - 1]) socket.packet({ type: 3, id, data: ['?'] });
    assert.deepEqual(await call(socket, 'rooms'), [socket.id]);
  });
});

describe('addressing', () => {
  let nr = 0;
  /** Four sockets: a and b in red, b and c in blue, d in none. Room names are new for every test. */
  async function four() {
    const [a, b, c, d] = await clients.connectMany(4, '/other');
    nr += 1;
    const [red, blue] = [`red-${nr}`, `blue-${nr}`];
    await Promise.all([call(a, 'join', red), call(b, 'join', red), call(b, 'join', blue), call(c, 'join', blue)]);
    const heard = { a: collect(a, 'op'), b: collect(b, 'op'), c: collect(c, 'op'), d: collect(d, 'op') };
    let op = 0;
    /** Who hears it when `sender` does emit-op with this spec? */
    const hearers = async (sender, spec) => {
      op += 1;
      await call(sender, 'emit-op', { event: 'op', args: [op, bytes(op)], ...spec });
      await settled(a, b, c, d);
      return Object.entries(heard).flatMap(([name, { seen }]) => seen.filter(([n]) => n === op).map(() => name)).join('');
    };
    return { a, b, c, d, red, blue, hearers };
  }

  test('nsp, socket and self without rooms', async () => {
    const { a, hearers } = await four();
    assert.equal(await hearers(a, { from: 'nsp' }), 'abcd');
    assert.equal(await hearers(a, { from: 'socket' }), 'bcd');
    assert.equal(await hearers(a, { from: 'self' }), 'a');
  });

  test('to: the union of rooms, each socket once', async () => {
    const { a, b, c, d, red, blue, hearers } = await four();
    assert.equal(await hearers(a, { from: 'nsp', to: [red] }), 'ab');
    assert.equal(await hearers(a, { from: 'nsp', to: [red, blue] }), 'abc');
    assert.equal(await hearers(a, { from: 'socket', to: [red] }), 'b');
    assert.equal(await hearers(b, { from: 'socket', to: [red, blue] }), 'ac');
    assert.equal(await hearers(d, { from: 'socket', to: [red, c.id, d.id] }), 'abc');
    assert.equal(await hearers(a, { from: 'nsp', to: ['nobody'] }), '');
    assert.equal(await hearers(a, { from: 'nsp', to: ['nobody', d.id] }), 'd');
  });

  test('except: rooms and single sockets are left out', async () => {
    const { a, b, c, d, red, blue, hearers } = await four();
    assert.equal(await hearers(a, { from: 'nsp', except: [red] }), 'cd');
    assert.equal(await hearers(a, { from: 'nsp', to: [red], except: [blue] }), 'a');
    assert.equal(await hearers(c, { from: 'socket', except: [b.id, d.id] }), 'a');
    assert.equal(await hearers(a, { from: 'nsp', to: [red, blue], except: [red, blue] }), '');
    assert.equal(await hearers(a, { from: 'nsp', except: ['nobody'] }), 'abcd');
  });

  test('local and volatile reach whoever is there and ready', async () => {
    const { a, red, hearers } = await four();
    assert.equal(await hearers(a, { from: 'nsp', local: true }), 'abcd');
    // A connection is ready again when the server has seen the end of its last send, which may be after the client has
    // what was sent: so a volatile event may be dropped for an idle client, but not every time.
    const volatile = (spec, all) => eventually(() => hearers(a, { ...spec, volatile: true }), (who) => who === all, all);
    await volatile({ from: 'nsp', to: [red] }, 'ab');
    await volatile({ from: 'self' }, 'a');
  });

  test('rooms end with leaving them', async () => {
    const { a, b, red, hearers } = await four();
    await call(b, 'leave', red);
    assert.equal(await hearers(a, { from: 'nsp', to: [red] }), 'a');
    await call(a, 'leave', red);
    assert.equal(await hearers(a, { from: 'nsp', to: [red] }), '');
  });

  const oneCore = (isReference || cores === 1) && 'there is one core';
  test('connections spread over the cores, and each core reaches all', { skip: oneCore }, async () => {
    const sockets = await clients.connectMany(20 * cores, '/chat');
    const homes = await Promise.all(sockets.map((socket) => call(socket, 'core')));
    assert.deepEqual([...new Set(homes)].sort(), [...Array(cores).keys()]);
    const heard = sockets.map((socket) => collect(socket, 'op'));
    const senders = [0, 1].map((core) => sockets[homes.indexOf(core)]);
    for (const [i, sender] of senders.entries()) {
      await call(sender, 'emit-op', { from: 'nsp', event: 'op', args: [i] });
      await call(sender, 'emit-op', { from: 'socket', except: [senders[1 - i].id], event: 'op', args: [i] });
    }
    await settled(...sockets);
    heard.forEach(({ seen }, at) => {
      const expected = senders.includes(sockets[at]) ? [[0], [1]] : [[0], [0], [1], [1]];
      assert.deepEqual(seen, expected, `client ${at} on core ${homes[at]}`);
    });
  });

  test('volatile is dropped for a client that does not read, and for no one else', { skip: needsWebSocket }, async () => {
    const [sender, slow, quick] = await clients.connectMany(3, '/chat');
    for (const socket of [slow, quick]) await call(socket, 'join', 'stream');
    const [atSlow, atQuick] = [collect(slow, 'tick'), collect(quick, 'tick')];
    const count = 300;
    const size = 200_000; // together far more than two sockets' buffers hold
    const ws = await webSocketOf(slow);
    ws.pause();
    for (let i = 0; i < count; i += 1) {
      await call(sender, 'emit-op', { from: 'nsp', to: ['stream'], volatile: true, event: 'tick', args: [i, bytes(size)] });
      await settled(quick);
    }
    ws.resume();
    await settled(slow);
    assert.ok(atQuick.seen.length > 0.8 * count, `the quick one got ${atQuick.seen.length} of ${count}`);
    assert.ok(atSlow.seen.length < 0.8 * count, `the slow one got ${atSlow.seen.length} of ${count}`);
    const numbers = atSlow.seen.map(([i]) => i);
    assert.deepEqual(numbers, [...numbers].sort((x, y) => x - y), 'the others in order');
    assert.equal(new Set(numbers).size, numbers.length, 'and once');
  });
});

describe('namespaces', () => {
  test('only those that exist', async () => {
    const manager = clients.manager();
    const nowhere = manager.socket('/nowhere');
    const [error] = await next(nowhere, 'connect_error');
    assert.equal(error.message, 'Invalid namespace');
    assert.equal(nowhere.connected, false);
    const chat = await connected(manager.socket('/chat'));
    assert.deepEqual(await call(chat, 'rooms'), [chat.id], 'the session outlives the refusal');
  });

  test('three over one connection, each with its own id, rooms and events', async () => {
    const manager = clients.manager();
    const sockets = await Promise.all(['/', '/chat', '/other'].map((name) => connected(manager.socket(name))));
    assert.equal(new Set(sockets.map(({ id }) => id)).size, 3);
    await call(sockets[0], 'join', 'here');
    const heard = sockets.map((socket) => collect(socket, 'op'));
    await call(sockets[1], 'emit-op', { from: 'nsp', event: 'op', args: [] });
    await call(sockets[1], 'emit-op', { from: 'nsp', to: ['here'], event: 'op', args: [] });
    await settled(...sockets);
    assert.deepEqual(heard.map(({ seen }) => seen.length), [0, 1, 0]);
  });
});

// Each way to part: what the client hears, and what the server's handlers hear (spec: disconnecting still has the
// rooms, disconnect has none).
describe('reasons', () => {
  const packed = (packet) => new msgpack.Encoder().encode(packet)[0];
  const send = (...packets) => (socket) => packets.forEach((packet) => socket.io.engine.send(packet));
  const partings = [
    ['client: socket.disconnect()', (socket) => socket.disconnect(),
      'client namespace disconnect', ['io client disconnect']],
    ['server: socket.disconnect()', (socket) => socket.emit('disconnect-me', false),
      'server namespace disconnect', ['io server disconnect']],
    ['server: socket.disconnect(true)', (socket) => socket.emit('disconnect-me', true),
      'server namespace disconnect', ['io server disconnect']],
    ['client: engine.close()', (socket) => socket.io.engine.close(),
      'transport close', ['forced close']],
    // A POST that is refused leaves the session to the client, which ends it.
    ['a message over the limit', async (socket) => {
      if (!needsWebSocket) await webSocketOf(socket);
      socket.emit('echo', 'x'.repeat(2 * 1024 * 1024));
    }, needsWebSocket ? 'transport close' : 'transport error', ['transport close', 'transport error']],
    ['a Socket.IO packet that is none', send(isPacked ? packed({ type: 2, data: {}, nsp: '/' }) : '2{"no":"array"}'),
      'forced close', ['transport close']],
    ['bytes that are no packet', send(bytes(3)),
      'forced close', ['transport close']],
    ['CONNECT twice', send(isPacked ? packed({ type: 0, nsp: '/' }) : '0'),
      'forced close', ['transport close']],
    ['an event before its CONNECT', send(isPacked ? packed({ type: 2, data: ['echo'], nsp: '/other' }) : '2/other,["echo"]'),
      'forced close', ['transport close']],
  ];
  const ofMsgPack = [
    ['a text message', send('2["echo"]'),
      'forced close', ['transport close']],
    ['a packet with something behind it', send(Buffer.concat([packed({ type: 2, data: ['echo'], nsp: '/' }), bytes(1)])),
      'forced close', ['transport close']],
  ];
  // What Node's server does with it is an accident of its emitter, or nothing: there is no limit.
  const ofOurs = [
    ['a reserved event name', send(packed({ type: 2, data: ['disconnect'], nsp: '/' })),
      'forced close', ['transport close']],
    ['eleven attachments', (socket) => socket.emit('echo', Array.from({ length: 11 }, () => bytes(1))),
      'forced close', ['transport close']],
  ];
  const ofDefault = [
    ['a reserved event name', send('2["disconnect"]'),
      'forced close', ['transport close']],
    ['text where an attachment is due', send('51-["echo",{"_placeholder":true,"num":0}]', '2["echo"]'),
      'forced close', ['transport close']],
    ['eleven attachments', (socket) => socket.emit('echo', Array.from({ length: 11 }, () => bytes(1))),
      // Over polling the rest may be on its way in a POST, which is refused.
      'forced close', transports.includes('polling') ? ['transport close', 'transport error'] : ['transport close']],
  ];
  partings.push(...(isPacked ? [...ofMsgPack, ...(isReference ? [] : ofOurs)] : ofDefault));
  // What is done to the websocket itself.
  const breaks = [
    ['a close frame', (ws) => ws.close(1000),
      'transport close', ['transport close']],
    ['a connection cut without a close frame', (ws) => ws.terminate(),
      'transport close', ['transport close']],
    ['a connection reset', (ws) => ws._socket.resetAndDestroy(),
      'transport close', ['transport close', 'transport error']],
    ['a websocket frame that is none', (ws) => ws._socket.write(Buffer.from([0x81, 0x01, 0x61])),
      'transport error', ['transport close', 'transport error']],
    ['a ping from the client', (ws) => ws.send('2'),
      'transport error', ['transport close', 'transport error']],
    ['an unknown Engine.IO packet', (ws) => ws.send('9'),
      'parse error', ['transport close', 'transport error']],
  ];
  if (!needsWebSocket) {
    for (const [title, hurt, ...heard] of breaks) {
      partings.push([title, async (socket) => hurt(await webSocketOf(socket)), ...heard]);
    }
  }

  for (const [title, part, atServer, atClient] of partings) {
    test(title, async () => {
      const observer = await clients.connect('/chat');
      const socket = await clients.connect('/');
      await call(socket, 'join', 'somewhere');
      const { id } = socket;
      const gone = next(socket, 'disconnect');
      await part(socket);
      const [reason] = await gone;
      assert.ok(atClient.includes(reason), `client heard "${reason}"`);
      const log = await eventually(() => call(observer, 'log', id), (entries) => entries.length >= 2, 'two log entries');
      assert.deepEqual(log, [
        { ev: 'disconnecting', reason: atServer, rooms: [id, 'somewhere'].sort() },
        { ev: 'disconnect', reason: atServer, rooms: [] },
      ]);
    });
  }

  test('leaving one namespace keeps the others; disconnect(true) ends all of them', async () => {
    const observer = await clients.connect('/chat');
    const logOf = (id, n) => eventually(() => call(observer, 'log', id), (log) => log.length >= n, `${n} log entries`);
    const manager = clients.manager();
    const [main, chat, other] = await Promise.all(['/', '/chat', '/other'].map((name) => connected(manager.socket(name))));
    const ids = [main.id, chat.id, other.id];

    const otherGone = next(other, 'disconnect');
    other.emit('disconnect-me', false);
    assert.deepEqual((await otherGone)[0], 'io server disconnect');
    await settled(main, chat);
    assert.equal((await logOf(ids[2], 2))[1].reason, 'server namespace disconnect');

    const gone = [main, chat].map((socket) => next(socket, 'disconnect'));
    main.emit('disconnect-me', true);
    for (const end of gone) assert.equal((await end)[0], 'io server disconnect');
    for (const id of ids.slice(0, 2)) assert.equal((await logOf(id, 2))[1].reason, 'server namespace disconnect');
  });

  test('io server disconnect is not followed by a reconnection, and the client may come back by hand', async () => {
    const socket = await clients.connect('/', { reconnection: true, reconnectionDelay: 1 });
    const gone = next(socket, 'disconnect');
    socket.emit('disconnect-me', false);
    assert.equal((await gone)[0], 'io server disconnect');
    assert.equal(socket.active, false);
    await connected(socket.connect());
    assert.deepEqual(await call(socket, 'rooms'), [socket.id]);
  });
});

describe('heartbeat', () => {
  let brisk;
  before(async () => {
    brisk = await startServer('interop', { args: ['--ping-interval', '300', '--ping-timeout', '2000'] });
  });
  after(() => brisk?.stop());

  test('a client that answers pings stays; one that does not is gone with "ping timeout"', { skip: needsWebSocket }, async () => {
    const there = new Clients(brisk);
    try {
      const [observer, mute] = [await there.connect('/chat'), await there.connect('/')];
      const { id } = mute;
      let pings = 0;
      observer.io.on('ping', () => { pings += 1; });
      const gone = next(mute, 'disconnect');
      const ws = await webSocketOf(mute);
      ws.pause(); // hears no ping, so sends no pong
      // The client would give up at the same moment by itself, and then it is a matter of luck who is first.
      clearTimeout(mute.io.engine._pingTimeoutTimer);
      const log = await eventually(() => call(observer, 'log', id), (entries) => entries.length >= 2, 'ping timeout');
      assert.deepEqual(log.map(({ reason }) => reason), ['ping timeout', 'ping timeout']);
      assert.ok(pings >= 3, `${pings} pings meanwhile`);
      assert.equal(observer.connected, true);
      ws.resume();
      assert.ok(['transport close', 'ping timeout'].includes((await gone)[0]));
    } finally {
      there.close();
    }
  });
});

// Handlers see JSON, whatever the parser: what JSON has not comes back as what JSON makes of it.
if (isPacked && !isReference) {
  describe('msgpack', () => {
    test('values that JSON has not', async () => {
      const socket = await clients.connect();
      const at = new Date('2024-02-29T12:00:00.123Z');
      const answer = next(socket, 'echo');
      socket.emit('echo', at, undefined, { a: undefined, b: [undefined, NaN, -Infinity] }, new Uint8Array([1, 2]), 2 ** 53, -0.5);
      const [date, nothing, object, view, large, half] = await answer;
      assert.equal(date, at.toISOString());
      assert.equal(nothing, null);
      assert.deepEqual(object, { b: [null, null, null] });
      assert.ok(view.equals(Buffer.from([1, 2])));
      assert.deepEqual([large, half], [2 ** 53, -0.5]);
    });

    test('a packet is one message, binary values and all', async () => {
      const socket = await clients.connect();
      const packets = [];
      socket.io.engine.on('packet', ({ type, data }) => { if (type === 'message') packets.push(data); });
      const [back] = await new Promise((resolve) => {
        socket.emit('echo-ack', { parts: [bytes(3), bytes(70_000)] }, (...answer) => resolve(answer));
      });
      assert.ok(back.parts[1].equals(bytes(70_000)));
      assert.equal(packets.length, 1);
    });
  });
}
