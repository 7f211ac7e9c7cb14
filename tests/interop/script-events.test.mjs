// Our client script beside the official client, as in script.test.mjs. Here: events, acknowledgements, bytes, what waits
// for a connection, and how a connection ends and comes back.

import assert from 'node:assert/strict';
import http from 'node:http';
import { describe, test } from 'node:test';
import { WebSocketServer } from 'ws';
import { bytes, collect, eventually, next } from './harness.mjs';
import { Client, closing, listen, on, own, plain, same, serve } from './pair.mjs';

const MODES = [['polling'], ['websocket'], ['polling', 'websocket']];

/** Emits and waits until the server has handled it and what came before. */
const settled = (socket) => socket.emitWithAck('echo', 0);

describe('listeners', () => {
  same('on, once, off, and those of all events', async (client) => {
    const { url } = await serve();
    const socket = client.io(url);
    const log = [];
    const say = (name) => (...args) => { log.push([name, ...args.filter((arg) => typeof arg !== 'function')]); };
    const [first, second, any, outgoing] = ['first', 'second', 'any', 'outgoing'].map(say);
    socket.on('echo', first).on('echo', second).once('echo', say('once')).on('echo', first);
    socket.onAny(any).prependAny(say('before any')).onAnyOutgoing(outgoing).prependAnyOutgoing(say('before outgoing'));
    await next(socket, 'connect');
    const round = async (n) => { socket.emit('echo', n); await settled(socket); };
    await round(1);
    socket.off('echo', first);
    await round(2);
    socket.offAny(any).offAnyOutgoing(outgoing);
    await round(3);
    log.push([socket.listenersAny().length, socket.listenersAnyOutgoing().length, socket.listeners('echo').length, socket.hasListeners('echo')]);
    socket.offAny().offAnyOutgoing().off('echo');
    await round(4);
    log.push([socket.hasListeners('echo'), socket.listeners('echo').length]);
    const once = say('never');
    socket.once('echo', once).off('echo', once).addEventListener('echo', second).removeListener('echo', second);
    await round(5);
    socket.on('echo', first).removeAllListeners();
    await round(6);
    return log;
  });

  same('reserved names are refused', (client) => {
    const socket = client.io('http://127.0.0.1:9', { autoConnect: false });
    return ['connect', 'connect_error', 'disconnect', 'disconnecting', 'newListener', 'removeListener', 'error', '']
      .map((name) => {
        try {
          return socket.emit(name) === socket;
        } catch (error) {
          return error.message;
        }
      });
  });

  same('a listener may add and remove listeners, and disconnect', async (client) => {
    const { url } = await serve();
    const socket = client.io(url, { transports: ['websocket'] });
    const log = [];
    const late = () => log.push('late');
    socket.on('echo', () => { log.push('one'); socket.on('echo', late); });
    socket.on('echo', () => { log.push('two'); socket.off('echo', late); });
    on(log, socket, 'socket', 'disconnect');
    await next(socket, 'connect');
    socket.emit('echo');
    await settled(socket);
    socket.once('echo', () => socket.disconnect());
    socket.emit('echo');
    await next(socket, 'disconnect');
    return log;
  });
});

describe('acknowledgements', () => {
  for (const transports of MODES) {
    same(`arguments in both directions: ${transports}`, async (client) => {
      const { url, io } = await serve();
      const socket = client.io(url, { transports });
      socket.on('ask', (a, answer) => { answer(a, [a], Buffer.from('xyz')); answer('a second time'); });
      socket.on('ask nothing', (answer) => answer());
      await next(socket, 'connect');
      const answers = await Promise.all([
        new Promise((resolve) => { socket.emit('echo', 1, 'a', null, {}, (...args) => resolve(args)); }),
        new Promise((resolve) => { socket.emit('echo', (...args) => resolve(args)); }),
        socket.emitWithAck('echo', { x: undefined, y: [undefined, NaN], d: new Date(0) }),
        socket.timeout(10_000).emitWithAck('echo', 2, 3),
        new Promise((resolve) => { socket.timeout(10_000).emit('echo', 4, 5, (...args) => resolve(args)); }),
        io.timeout(10_000).emitWithAck('ask', 7),
        io.timeout(10_000).emitWithAck('ask nothing'),
      ]);
      return answers;
    });
  }

  same('time-outs, and the end of the connection', async (client) => {
    const { url } = await serve({}, (io) => io.on('connection', (socket) => {
      let late;
      socket.on('never', (answer) => { late = answer; });
      socket.on('late', () => late());
    }));
    const log = [];
    const note = (name) => (...args) => { log.push([name, ...args.map(plain)]); };
    const socket = client.io(url, { transports: ['websocket'], autoConnect: false, ackTimeout: 30 });
    socket.timeout(5).emit('echo', 1, note('not connected'));
    await eventually(() => log.length, (n) => n === 1, 'the time-out');
    log.push(['still buffered', socket.sendBuffer.length]);
    socket.connect();
    await next(socket, 'connect');
    socket.timeout(5).emit('never', note('timeout'));
    socket.emit('never', note('ackTimeout'));
    await socket.timeout(5).emitWithAck('never').catch(note('promise'));
    await eventually(() => log.length, (n) => n === 5, 'the other time-outs');
    socket.emit('late');
    await settled(socket);
    socket.timeout(60_000).emit('never', note('disconnected'));
    const broken = socket.timeout(60_000).emitWithAck('never').catch(note('disconnected promise'));
    socket.disconnect();
    await broken;
    return log;
  });

  same('one that nobody asked for, and one that waits for the next connection', async (client) => {
    const { url } = await serve();
    const socket = client.io(url, { transports: ['websocket'], reconnection: true, reconnectionDelay: 1 });
    await next(socket, 'connect');
    socket.packet({ type: 3, id: 77, data: [] });
    await settled(socket);
    const gone = next(socket, 'disconnect');
    socket.io.engine.close();
    await gone;
    return socket.emitWithAck('echo', 'later');
  });

  same('retries: until it is acknowledged, one after the other, and not for ever', async (client) => {
    const seen = [];
    const { url } = await serve({}, (io) => io.on('connection', (socket) => {
      socket.on('job', (n, answer) => {
        seen.push(n);
        // The second job is answered when it is tried for the third time, the third never.
        if (n === 1 || (n === 2 && seen.filter((one) => one === 2).length === 3)) answer(n * 10);
      });
    }));
    const socket = client.io(url, { transports: ['websocket'], retries: 2, ackTimeout: 30 });
    const results = await Promise.all([1, 2, 3, 4].map((n) => new Promise((resolve) => {
      socket.emit(n < 4 ? 'job' : 'echo', n, (error, answer) => resolve([error?.message ?? null, answer]));
    })));
    return [results, seen];
  }, ([, seen]) => assert.deepEqual(seen, [1, 2, 2, 2, 3, 3, 3]));
});

describe('bytes', () => {
  const whole = Uint8Array.from({ length: 100 }, (_, i) => i * 3);
  const kinds = () => ({
    buffer: whole.buffer.slice(0),
    view: whole.subarray(10, 20),
    wide: new Uint16Array(whole.buffer, 2, 5),
    data: new DataView(whole.buffer, 3, 4),
    node: Buffer.from('bytes'),
    empty: new ArrayBuffer(0),
    custom: { toJSON: () => ({ inside: whole.subarray(0, 3) }) },
    text: 'text',
  });
  for (const transports of MODES) {
    for (const forceBase64 of [false, true]) {
      same(`every kind of them, ${transports}${forceBase64 ? ', in base64' : ''}`, async (client) => {
        const { url, io } = await serve();
        const socket = client.io(url, { transports, forceBase64 });
        await next(socket, 'connect');
        const back = await socket.emitWithAck('echo', kinds());
        const again = next(socket, 'news');
        io.emit('news', [kinds().view, { _placeholder: true, num: 0 }], 'text', { x: Buffer.alloc(70_000, 7) });
        return [back, await again];
      }, ([back]) => assert.ok(back.view.equals(whole.subarray(10, 20))));
    }
  }

  for (const transports of MODES) {
    test(`a Blob and a File: ${transports}`, async () => {
      const { url } = await serve();
      const socket = new Client(own).io(url, { transports });
      await next(socket, 'connect');
      const parts = [new Blob([whole]), new Blob(['text'])];
      if (globalThis.File) parts.push(new File([whole], 'name'));
      socket.emit('echo', 'before');
      const [blob, text, file] = await socket.emitWithAck('echo', parts);
      assert.ok(blob.equals(whole));
      assert.equal(text.toString(), 'text');
      if (file) assert.ok(file.equals(whole));
    });
  }

  same('text in all planes', async (client) => {
    const { url } = await serve();
    const texts = ['', 'é', '世界', '😀', '\u0000\u001e\u2028', '"\\', '\ud800', 'x'.repeat(100_000)];
    const seen = [];
    for (const transports of MODES) {
      const socket = client.io(url, { transports });
      seen.push(...await Promise.all(texts.map((text) => socket.emitWithAck('echo', text, { [text]: text }))));
    }
    return seen;
  });
});

describe('what waits', () => {
  same('emitted before there is a connection, and after it is gone', async (client) => {
    const { url, io } = await serve();
    const seen = [];
    io.on('connection', (socket) => socket.onAny((...args) => seen.push(args)));
    const socket = client.io(url, { autoConnect: false, transports: ['websocket'], reconnection: true, reconnectionDelay: 1 });
    const log = [];
    socket.onAnyOutgoing((event, n) => log.push([event, n, socket.connected]));
    socket.emit('early', 1);
    socket.volatile.emit('early', 'volatile');
    socket.emit('early', bytes(10));
    log.push(socket.sendBuffer.length);
    socket.connect();
    await next(socket, 'connect');
    log.push(socket.sendBuffer.length);
    await settled(socket);
    const gone = next(socket, 'disconnect');
    socket.io.engine.close();
    await gone;
    socket.emit('late', 2);
    socket.volatile.emit('late', 'volatile');
    log.push(socket.sendBuffer.length);
    await next(socket, 'connect');
    await settled(socket);
    return [log, seen.map(([event, n]) => [event, Buffer.isBuffer(n) ? n.length : n])];
  });

  same('sent by the server before its CONNECT', async (client) => {
    const { url } = await serve({}, (io) => io.use((socket, go) => {
      socket.emit('early', 1);
      socket.emit('early', Buffer.from('2'));
      setTimeout(go, 20);
    }));
    const log = [];
    for (const transports of MODES) {
      const socket = client.io(url, { transports });
      on(log, socket, 'socket', 'early', 'connect');
      socket.on('early', () => log.push([socket.connected, typeof socket.id]));
      await next(socket, 'connect');
    }
    return log;
  });

  same('volatile is dropped while the transport is busy, and sent when it is not', async (client) => {
    const { url, io } = await serve();
    const seen = [];
    io.on('connection', (socket) => socket.on('v', (n) => seen.push(n)));
    for (const transports of [['polling'], ['websocket']]) {
      const socket = client.io(url, { transports });
      await next(socket, 'connect');
      await settled(socket);
      await eventually(() => socket.io.engine.transport.writable, Boolean, 'writable');
      for (let n = 0; n < 5; n += 1) socket.volatile.emit('v', n);
      await settled(socket);
    }
    return seen;
  }, (seen) => assert.deepEqual(seen, [0, 0]));

  same('many at once are POSTed in portions', async (client) => {
    const { url, web } = await serve({ maxHttpBufferSize: 5000 });
    const sizes = [];
    web.on('request', (request) => { if (request.method === 'POST') sizes.push(Number(request.headers['content-length'])); });
    const socket = client.io(url, { transports: ['polling'] });
    await next(socket, 'connect');
    const echoes = collect(socket, 'echo');
    for (let n = 0; n < 50; n += 1) socket.emit('echo', n % 3 ? 'ü'.repeat(300) : bytes(700), n);
    assert.deepEqual((await echoes.until(50)).map(([, n]) => n), Array.from({ length: 50 }, (_, n) => n));
    assert.ok(sizes.every((size) => size <= 5000), sizes.join());
    assert.ok(sizes.length < 40, `${sizes.length} POSTs`);
    const gone = next(socket, 'disconnect');
    socket.emit('echo', 'x'.repeat(6000));
    const [reason, details] = await gone;
    return [reason, plain(details), details.description];
  }, (seen) => assert.equal(seen[2], 413));
});

describe('ends', () => {
  const ways = {
    'socket.disconnect()': (socket) => { socket.disconnect(); },
    'the server: disconnect()': (socket, { io }) => { io.disconnectSockets(); },
    'the server: disconnect(true)': (socket, { io }) => { io.disconnectSockets(true); },
    'engine.close()': (socket) => { socket.io.engine.close(); },
    'manager._close()': (socket) => { socket.io._close(); },
    'the session': (socket, { io }) => { for (const session of Object.values(io.engine.clients)) session.close(); },
    'a packet that is none': (_, { io }) => { for (const session of Object.values(io.engine.clients)) session.write('9'); },
    'an event without a name': (_, { io }) => { for (const session of Object.values(io.engine.clients)) session.write('2[null]'); },
    'a reserved event': (_, { io }) => { for (const session of Object.values(io.engine.clients)) session.write('2["connect"]'); },
    'eleven attachments': (_, { io }) => { io.emit('files', Array.from({ length: 11 }, () => Buffer.from('x'))); },
    'binary that nobody announced': (_, { io }) => { for (const session of Object.values(io.engine.clients)) session.write(Buffer.from('x')); },
    'text instead of an attachment': (_, { io }) => {
      for (const session of Object.values(io.engine.clients)) session.write('51-["x",{"_placeholder":true,"num":0}]').write('2["x"]');
    },
    'an attachment that is not there': (_, { io }) => {
      for (const session of Object.values(io.engine.clients)) session.write('51-["x",{"_placeholder":true,"num":1}]').write(Buffer.from('x'));
    },
  };
  for (const transports of [['polling'], ['websocket']]) {
    for (const [way, end] of Object.entries(ways)) {
      same(`${way}, ${transports}`, async (client) => {
        const there = await serve();
        const socket = client.io(there.url, { transports });
        const log = [];
        on(log, socket, 'socket', 'disconnect');
        socket.on('disconnect', () => log.push([socket.connected, socket.active, socket.id]));
        await next(socket, 'connect');
        await settled(socket);
        const gone = next(socket, 'disconnect');
        end(socket, there);
        await gone;
        // A parse error is an Error with details of its own; what it is called is not part of the interface.
        return log.map(([who, event, reason, details]) => [who, event, reason, reason === 'parse error' ? '' : details]);
      });
    }
  }

  /** A websocket server of few words. */
  async function scripted(...packets) {
    const web = http.createServer();
    const heard = [];
    new WebSocketServer({ server: web }).on('connection', (ws) => {
      ws.on('message', (data) => heard.push(String(data)));
      for (const packet of packets) ws.send(packet);
    });
    return { ...await listen(web), heard };
  }
  const OPEN = '0{"sid":"engine","upgrades":[],"pingInterval":60,"pingTimeout":40,"maxPayload":100000}';

  same('a server that falls silent', async (client) => {
    const { url, heard } = await scripted(OPEN, '40{"sid":"socket"}', '2');
    const socket = client.io(url, { transports: ['websocket'] });
    const log = [];
    const pings = [];
    on(pings, socket.io, 'manager', 'ping');
    on(log, socket.io, 'manager', 'close');
    on(log, socket, 'socket', 'connect', 'disconnect');
    await next(socket, 'disconnect');
    return [[...log], pings, heard];
  }, ([log]) => assert.deepEqual(log.at(-2), ['socket', 'disconnect', 'ping timeout', undefined]));

  same('a server of v2, which names no sid', async (client) => {
    const { url } = await scripted(OPEN, '40');
    const socket = client.io(url, { transports: ['websocket'] });
    await next(socket, 'connect_error');
    return [socket.connected, socket.active];
  });

  same('numbers as event names, other namespaces, and packets without a payload', async (client) => {
    const { url } = await scripted(OPEN, '40/other,{"sid":"other"}', '42["too early"]', '40{"sid":"socket"}', '42/other,["not for me"]', '42[7,8]', '431[]', '42["end"]');
    const socket = client.io(url, { transports: ['websocket'] });
    const log = [];
    socket.onAny((...args) => log.push(args));
    on(log, socket, 'socket', 'connect', 'disconnect');
    await next(socket, 'end');
    return log;
  });
});

describe('coming back', () => {
  same('after a break: the events of manager and socket', async (client) => {
    const { url, io } = await serve();
    const socket = client.io(url, { transports: ['websocket'], reconnection: true, reconnectionDelay: 1 });
    const log = [];
    on(log, socket.io, 'manager', 'open', 'close', 'error', 'reconnect_attempt', 'reconnect', 'reconnect_error', 'reconnect_failed');
    on(log, socket, 'socket', 'connect', 'disconnect', 'connect_error');
    await next(socket, 'connect');
    const { id } = socket;
    for (const session of Object.values(io.engine.clients)) session.transport.socket.terminate();
    await next(socket, 'connect');
    log.push(['another id', '', socket.id !== id]);
    return log.map(([who, event, ...args]) => [who, event, ...args.map((arg) => arg?.code ?? arg)]);
  });

  same('while there is no server, and then there is', async (client) => {
    const first = await serve();
    const socket = client.io(first.url, { transports: ['polling'], reconnection: true, reconnectionDelay: 1, reconnectionDelayMax: 5 });
    await next(socket, 'connect');
    const log = [];
    on(log, socket.io, 'manager', 'open', 'reconnect_error', 'error');
    on(log, socket, 'socket', 'connect', 'connect_error');
    await first.end();
    await next(socket.io, 'reconnect_attempt');
    await next(socket.io, 'reconnect_attempt');
    await serve({}, () => {}, first.port);
    await next(socket, 'connect');
    const events = log.map(([who, event]) => `${who} ${event}`);
    return [[...new Set(events.slice(0, -2))].sort(), events.slice(-2)];
  });

  same('not more often than allowed', async (client) => {
    const { url, end } = await listen(http.createServer());
    await end();
    const socket = client.io(url, {
      transports: ['websocket'], reconnection: true, reconnectionDelay: 1, reconnectionAttempts: 3, autoConnect: false,
    });
    const log = [];
    on(log, socket.io, 'manager', 'reconnect_attempt', 'reconnect_error', 'reconnect_failed', 'error');
    on(log, socket, 'socket', 'connect_error');
    socket.connect();
    await next(socket.io, 'reconnect_failed');
    log.push(['active', '', socket.active]);
    return log;
  }, (log) => assert.equal(log.filter(([, event]) => event === 'reconnect_attempt').length, 3));

  same('not when it was told to stop', async (client) => {
    const { url, end } = await listen(http.createServer());
    await end();
    const log = [];
    for (const stop of [(socket) => socket.disconnect(), (socket) => socket.io.reconnection(false)]) {
      const socket = client.io(url, { transports: ['websocket'], reconnection: true, reconnectionDelay: 1 });
      on(log, socket.io, 'manager', 'reconnect_attempt', 'reconnect', 'reconnect_failed');
      await next(socket, 'connect_error');
      stop(socket);
      for (let i = 0; i < 50; i += 1) await new Promise((resolve) => { setTimeout(resolve, 1); });
    }
    return log;
  });

  same('its settings can be asked and changed', async (client) => {
    const manager = client.manager('http://127.0.0.1:9', { autoConnect: false, reconnectionDelay: 7 });
    const names = ['reconnection', 'reconnectionAttempts', 'reconnectionDelay', 'reconnectionDelayMax', 'randomizationFactor', 'timeout'];
    const before = names.map((name) => manager[name]());
    const chained = names.map((name, i) => manager[name](i || false) === manager);
    return [before, chained, names.map((name) => manager[name]())];
  });

  /** The delays between attempts, in place of waiting for them. */
  async function delays(client, random, options) {
    const { url, end } = await listen(http.createServer());
    await end();
    const kept = { setTimeout: globalThis.setTimeout, random: Math.random };
    const seen = [];
    globalThis.setTimeout = (then, ms, ...rest) => {
      if (ms >= 200 && ms <= 10_000) seen.push(Math.round(ms));
      return kept.setTimeout(then, ms >= 200 && ms <= 10_000 ? 0 : ms, ...rest);
    };
    Math.random = () => random;
    try {
      const socket = client.io(url, { transports: ['websocket'], reconnection: true, reconnectionAttempts: 6, ...options });
      await new Promise((resolve) => { socket.io.once('reconnect_failed', resolve); });
      return seen;
    } finally {
      globalThis.setTimeout = kept.setTimeout;
      Math.random = kept.random;
    }
  }
  same('the delays double up to a limit', (client) => delays(client, 0.3, { randomizationFactor: 0 }), (seen) => {
    assert.deepEqual(seen, [1000, 2000, 4000, 5000, 5000, 5000]);
  });
  test('and are spread by half of them', async () => {
    assert.deepEqual(await delays(new Client(own), 0, {}), [500, 1000, 2000, 4000, 5000, 5000]);
    assert.deepEqual(await delays(new Client(own), 1, {}), [1500, 3000, 5000, 5000, 5000, 5000]);
    assert.deepEqual(await delays(new Client(own), 0.5, { reconnectionDelay: 300, reconnectionDelayMax: 1000 }), [300, 600, 1000, 1000, 1000, 1000]);
  });

  for (const transports of MODES) {
    same(`recovery of what was missed: ${transports}`, async (client) => {
      const recoveries = [];
      const { url, io } = await serve({ connectionStateRecovery: {} }, (made) => made.on('connection', (socket) => {
        recoveries.push(socket.recovered);
        socket.join('room');
      }));
      const socket = client.io(url, { transports, auth: { token: 1 } });
      const log = [];
      socket.onAny((event, n) => log.push([event, n, socket.connected]));
      socket.on('connect', () => log.push(['connect', socket.recovered]));
      await next(socket, 'connect');
      const { id } = socket;
      io.emit('news', 1);
      await next(socket, 'news');
      for (let round = 0; round < 2; round += 1) {
        const gone = next(socket, 'disconnect');
        socket.io.engine.close();
        await gone;
        await eventually(() => io.of('/').sockets.size, (n) => n === 0, 'the server knows');
        io.to('room').emit('news', 2);
        io.emit('news', Buffer.from('3'));
        await next(socket.connect(), 'connect');
        await settled(socket);
      }
      // A session that the server does not know is a new one.
      return [log, socket.id === id, recoveries];
    }, ([, kept, recoveries]) => assert.deepEqual([kept, recoveries], [true, [false, true, true]]));
  }
});

describe('ours alone', () => {
  test('a client that gives up at once leaves no session behind', async () => {
    const { url, io } = await serve();
    let sessions = 0;
    io.engine.on('connection', () => { sessions += 1; });
    for (const transports of MODES) {
      new Client(own).io(url, { transports }).disconnect();
      const early = new Client(own).io(url, { transports });
      await next(early.io.engine, 'open');
      early.disconnect();
    }
    await eventually(() => sessions, (n) => n >= 5, 'the polling sessions begin, and all that opened');
    await eventually(() => io.engine.clientsCount, (n) => n === 0, 'no session');
  });

  test('a listener that throws harms neither the others nor the connection', async () => {
    const { url } = await serve();
    const thrown = [];
    const kept = process.listeners('uncaughtException');
    process.removeAllListeners('uncaughtException');
    process.on('uncaughtException', (error) => thrown.push(error.message));
    closing.push(() => {
      process.removeAllListeners('uncaughtException');
      kept.forEach((listener) => process.on('uncaughtException', listener));
    });
    for (const transports of MODES) {
      const socket = new Client(own).io(url, { transports });
      const log = [];
      for (const event of ['connect', 'echo']) {
        socket.on(event, () => { throw new Error(`${transports}: ${event}`); });
        socket.on(event, () => log.push(event));
      }
      await eventually(() => socket.connected, Boolean, 'connected');
      socket.emit('echo');
      assert.equal(await socket.emitWithAck('echo', 1), 1);
      assert.deepEqual(log, ['connect', 'echo']);
    }
    await eventually(() => thrown.length, (n) => n === 6, 'six complaints');
  });

  test('a device that slept sends nothing into a connection that is surely dead', async () => {
    const { url, io } = await serve({ pingInterval: 1000, pingTimeout: 1000 });
    const seen = [];
    io.on('connection', (socket) => socket.on('after', (n) => seen.push(n)));
    const socket = new Client(own).io(url, { transports: ['websocket'], reconnection: true, reconnectionDelay: 1 });
    await next(socket, 'connect');
    const { id } = socket;
    const now = Date.now();
    const kept = Date.now;
    Date.now = () => now + 60_000;
    socket.emit('after', 1);
    Date.now = kept;
    assert.equal(socket.sendBuffer.length, 1);
    assert.equal((await next(socket, 'disconnect'))[0], 'ping timeout');
    await next(socket, 'connect');
    await settled(socket);
    assert.notEqual(socket.id, id);
    assert.deepEqual(seen, [1]);
  });
});
