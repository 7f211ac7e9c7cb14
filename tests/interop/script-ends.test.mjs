// Our client script beside the official client, as in script.test.mjs. Here: how a connection ends and comes back, and what
// only ours promises.

import assert from 'node:assert/strict';
import http from 'node:http';
import { describe, test } from 'node:test';
import { WebSocketServer } from 'ws';
import { eventually, next } from './harness.mjs';
import { Client, closing, listen, on, own, same, serve } from './pair.mjs';

const MODES = [['polling'], ['websocket'], ['polling', 'websocket']];

/** Emits and waits until the server has handled it and what came before. */
const settled = (socket) => socket.emitWithAck('echo', 0);

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

  test('a handshake that nobody answers is given up soon after the program gave up', async () => {
    const kept = globalThis.setTimeout;
    closing.push(() => { globalThis.setTimeout = kept; });
    globalThis.setTimeout = (then, ms, ...rest) => kept(then, ms === 5000 ? 0 : ms, ...rest);
    const web = http.createServer(() => {});
    const { url } = await listen(web);
    const asked = next(web, 'request');
    const socket = new Client(own).io(url, { transports: ['polling'] });
    const [request] = await asked;
    const ended = next(request.socket, 'close');
    socket.disconnect();
    await ended;
  });

  test('opened by hand between two attempts, it comes back the next time all the same', async () => {
    const { url, io } = await serve();
    const socket = new Client(own).io(url, { transports: ['websocket'], reconnection: true, reconnectionDelay: 60_000, reconnectionDelayMax: 60_000 });
    const cut = () => { for (const session of Object.values(io.engine.clients)) session.transport.socket.terminate(); };
    await next(socket, 'connect');
    cut();
    await next(socket, 'disconnect');
    socket.io.open();
    await next(socket, 'connect');
    socket.io.reconnectionDelay(1);
    cut();
    await next(socket, 'disconnect');
    await next(socket, 'connect');
  });

  test('connecting twice sends one CONNECT', async () => {
    const { url } = await serve({}, (io) => io.use((_, go) => setTimeout(go, 20)));
    const socket = new Client(own).io(url, { transports: ['websocket'] });
    const log = [];
    on(log, socket, 'socket', 'connect', 'disconnect');
    await next(socket.io, 'open');
    socket.connect().connect();
    await next(socket, 'connect');
    await settled(socket);
    assert.deepEqual(log, [['socket', 'connect']]);
  });

  test('a session that was not recovered is not recovered from what an earlier one was sent', async () => {
    const auths = [];
    const { url, io } = await serve({ connectionStateRecovery: {} });
    io.use(({ handshake }, go) => { auths.push(handshake.auth); go(); });
    const socket = new Client(own).io(url, { transports: ['websocket'] });
    await next(socket, 'connect');
    io.emit('news', 1);
    await next(socket, 'news');
    for (let i = 0; i < 2; i += 1) {
      io.disconnectSockets(); // which ends the session for good
      await next(socket, 'disconnect');
      await next(socket.connect(), 'connect');
    }
    assert.deepEqual(auths.map(({ pid, offset }) => [typeof pid, typeof offset]), [
      ['undefined', 'undefined'], ['string', 'string'], ['string', 'undefined'],
    ]);
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
