// Our client script and the official client, one beside the other: each scenario runs with both, against a server of its
// own (Node's), and what a program can observe must be the same. Here: how connections begin, fail, and change over.

import assert from 'node:assert/strict';
import http from 'node:http';
import { describe, test } from 'node:test';
import { WebSocketServer } from 'ws';
import { bytes, collect, eventually, next, within } from './harness.mjs';
import { Client, closing, listen, on, own, plain, same, serve } from './pair.mjs';

const MODES = [['polling'], ['websocket'], ['polling', 'websocket']];

describe('opening', () => {
  for (const transports of [undefined, ...MODES]) {
    same(`events of manager and engine: ${transports ?? 'by default'}`, async (client) => {
      const { url } = await serve();
      const log = [];
      const engineLog = [];
      const manager = client.manager(url, { transports, autoConnect: false });
      const socket = manager.socket('/');
      on(log, manager, 'manager', 'open', 'error', 'close', 'ping', 'reconnect', 'reconnect_attempt');
      on(log, socket, 'socket', 'connect', 'disconnect', 'connect_error');
      log.push([socket.connected, socket.disconnected, socket.active, socket.id, socket.nsp]);
      assert.equal(socket.connect(), socket);
      on(engineLog, manager.engine, 'engine', 'open', 'upgrading', 'upgrade', 'close');
      await next(socket, 'connect');
      if (!transports || transports.length > 1) {
        const { engine } = manager;
        if (engine.transport.name !== 'websocket') await next(engine, 'upgrade');
      }
      log.push([manager.engine.transport.name, socket.connected, socket.active, typeof socket.id, Boolean(socket.recovered)]);
      assert.equal(socket.disconnect(), socket);
      log.push([socket.connected, socket.active, socket.id]);
      await eventually(() => engineLog.at(-1)[1], (event) => event === 'close', 'the engine closes');
      return [log, engineLog];
    }, ([log]) => assert.ok(log.some(([, event]) => event === 'connect')));
  }

  same('the handshake: query, headers, path, auth as an object and as a function', async (client) => {
    const { url, io } = await serve({ path: '/elsewhere' });
    const seen = [];
    io.of('/').use((socket, go) => {
      const { query: { t, sid, ...query }, headers, auth } = socket.handshake;
      seen.push({ query, token: headers['x-token'], auth });
      go();
    });
    const auths = [undefined, { token: 'ü' }, (send) => setTimeout(send, 1, { late: [1] })];
    for (const auth of auths) {
      for (const transports of MODES) {
        const socket = client.io(url, {
          auth, transports, path: '/elsewhere', query: { who: 'me & you', n: 1 }, extraHeaders: { 'x-token': 'abc' },
        });
        await next(socket, 'connect');
      }
    }
    const withQuery = client.io(`${url}?a=1&b=%20x`, { path: '/elsewhere/' });
    await next(withQuery, 'connect');
    return seen;
  }, (seen) => assert.equal(seen.length, 10));

  same('without a slash at the end', async (client) => {
    const { url, web } = await serve({ addTrailingSlash: false });
    const paths = new Set();
    web.prependListener('request', (request) => paths.add(request.url.split('?')[0]));
    await next(client.io(url, { addTrailingSlash: false, transports: ['polling'] }), 'connect');
    return [...paths];
  }, (paths) => assert.deepEqual(paths, ['/socket.io']));

  same('addresses name namespaces, and namespaces share a connection', async (client) => {
    const { io } = client.module;
    const { url, io: server } = await serve({}, (made) => { made.of('/a'); made.of('/ü'); });
    const host = url.replace('http://', '');
    const made = [`${url}/a`, `${url}/ü`, `${url}/`, url, `${url}/a?x=1`, url.replace('http', 'ws')]
      .map((address) => io(address));
    made.push(io(`${url}/a`, { multiplex: false }), io(`${url}/ü`, { forceNew: true }));
    closing.push(() => made.forEach((socket) => socket.disconnect()));
    await Promise.all(made.map((socket) => socket.connected || next(socket, 'connect')));
    const managers = [...new Set(made.map((socket) => socket.io))];
    const seen = made.map((socket) => [socket.nsp, managers.indexOf(socket.io), made.indexOf(socket)]);
    seen.push(server.engine.clientsCount, new Set(made.map(({ id }) => id)).size, host.length > 0);
    made[0].disconnect();
    seen.push(made[1].connected, made[0].active, made[0].io._readyState);
    assert.equal(made[0].io.socket('/a'), made[0], 'the same socket, connecting again');
    await next(made[0], 'connect');
    return seen;
  });

  same('open, close, send and the other names', async ({ module, ...client }) => {
    const { url } = await serve();
    const socket = module.connect(url, { autoConnect: false, forceNew: true });
    closing.push(() => socket.disconnect());
    const early = [socket.active, socket.io.engine];
    socket.open();
    await next(socket, 'connect');
    socket.send('to nobody');
    assert.equal(await socket.emitWithAck('echo', 1), 1);
    socket.close();
    return [early, socket.connected, module.protocol, typeof module.Socket, module.io.Manager === module.Manager, module.default === module.io];
  });
});

describe('refusals', () => {
  const refused = (socket) => within(new Promise((resolve) => {
    socket.once('connect_error', (error) => resolve([plain(error), error.description?.constructor?.name ?? error.description, socket.active, socket.connected]));
  }), 'connect_error');

  for (const transports of MODES) {
    same(`nobody listens: ${transports}`, async (client) => {
      const { url, end } = await listen(http.createServer());
      await end();
      const [error, , ...rest] = await refused(client.io(url, { transports }));
      return [error, rest];
    });

    same(`something else answers: ${transports}`, async (client) => {
      const seen = [];
      for (const [status, body] of [[404, ''], [200, '<html>'], [200, '']]) {
        const { url } = await listen(http.createServer((_, response) => response.writeHead(status).end(body)));
        const socket = client.io(url, { transports });
        const [error] = await refused(socket);
        seen.push([error, transports[0] === 'polling' && status]);
      }
      return seen;
    });

    same(`nobody answers: ${transports}`, async (client) => {
      const { url } = await listen(http.createServer(() => {}));
      return refused(client.io(url, { transports, timeout: 50 }));
    }, ([{ message }]) => assert.equal(message, 'timeout'));

    same(`a middleware refuses, and lets in later: ${transports}`, async (client) => {
      let strict = true;
      const { url } = await serve({}, (io) => io.use((_, go) => {
        go(strict && Object.assign(new Error('not you'), { data: { why: ['x'] } }));
      }));
      const socket = client.io(url, { transports, reconnection: true });
      const first = await refused(socket);
      strict = false;
      socket.connect();
      await next(socket, 'connect');
      return first;
    });
  }

  same('an unknown namespace, beside a known one', async (client) => {
    const { url } = await serve();
    const manager = client.manager(url);
    const known = manager.socket('/');
    const first = await refused(manager.socket('/nowhere'));
    if (!known.connected) await next(known, 'connect');
    return [first, await known.emitWithAck('echo', 'still there')];
  });

  same('no transport that it knows', async (client) => {
    const [error] = await next(client.io('http://127.0.0.1:9', { transports: [] }), 'connect_error');
    return error.message ?? error; // the official client's is a string
  });

  same('the status of a refused request', async (client) => {
    const { url } = await serve({ allowRequest: (_, answer) => answer('no', false) });
    const socket = client.io(url, { transports: ['polling'] });
    const [error] = await next(socket, 'connect_error');
    return [plain(error), error.description];
  }, ([, status]) => assert.equal(status, 403));

  same('tryAllTransports', async (client) => {
    const { url } = await serve({ transports: ['websocket'] });
    const socket = client.io(url, { transports: ['polling', 'websocket'], tryAllTransports: true });
    await next(socket, 'connect');
    return socket.io.engine.transport.name;
  });
});

describe('upgrade', () => {
  const COUNT = 300;

  test('what flies in both directions meanwhile arrives once and in order', async () => {
    for (let round = 0; round < 10; round += 1) {
      let atServer;
      const { url } = await serve({}, (io) => io.on('connection', async (socket) => {
        atServer = collect(socket, 'up');
        for (let i = 0; i < COUNT; i += 1) {
          socket.emit('down', i, i % 7 ? 'x'.repeat(i) : bytes(i));
          if (i % (round + 1) === 0) await new Promise(setImmediate);
        }
      }));
      const socket = new Client(own).io(url, { transports: ['polling', 'websocket'] });
      const atClient = collect(socket, 'down');
      let upgraded = 0;
      socket.io.engine.once('upgrade', () => { upgraded += 1; });
      await next(socket, 'connect');
      for (let i = 0; i < COUNT; i += 1) {
        socket.emit('up', i, i % 5 ? 'y'.repeat(i) : bytes(i));
        if (i % (round + 2) === 0) await new Promise(setImmediate);
      }
      const numbers = Array.from({ length: COUNT }, (_, i) => i);
      assert.deepEqual((await atServer.until(COUNT)).map(([i]) => i), numbers);
      assert.deepEqual((await atClient.until(COUNT)).map(([i]) => i), numbers);
      if (!upgraded) await next(socket.io.engine, 'upgrade');
      assert.equal(await socket.emitWithAck('echo', round), round);
      assert.equal(atServer.seen.length + atClient.seen.length, 2 * COUNT);
      socket.disconnect();
    }
  });

  const spoilers = {
    'is refused': (stream) => stream.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n'),
    'is cut': (stream) => stream.destroy(),
    'answers nonsense': (stream, take) => take((ws) => ws.send('3nonsense')),
    'dies before it answers': (stream, take) => take((ws) => ws.on('message', () => ws.terminate())),
    'dies after it answered': (stream, take, io) => take((ws) => {
      ws.on('message', async () => {
        const [session] = Object.values(io.engine.clients);
        // While a GET waits, the client pauses for long.
        await eventually(() => io.of('/').sockets.size && session.transport.writable, Boolean, 'a GET waits');
        ws.send('3probe', () => ws.terminate());
      });
    }),
  };
  for (const [what, spoil] of Object.entries(spoilers)) {
    // The official client stays paused after a probe that died so late.
    const run = what === 'dies after it answered' ? (title, scenario, also) => test(title, async () => also(await scenario(new Client(own)))) : same;
    run(`a probe that ${what} leaves the polling alone`, async (client) => {
      const { url, web, io } = await serve();
      web.removeAllListeners('upgrade');
      const takers = new WebSocketServer({ noServer: true });
      web.on('upgrade', (request, stream, head) => {
        spoil(stream, (then) => takers.handleUpgrade(request, stream, head, then), io);
      });
      const log = [];
      const socket = client.io(url);
      on(log, socket.io.engine, 'engine', 'upgradeError', 'upgrade', 'close');
      on(log, socket, 'socket', 'disconnect');
      await next(socket.io.engine, 'upgradeError');
      if (!socket.connected) await next(socket, 'connect');
      for (let i = 0; i < 20; i += 1) assert.equal(await socket.emitWithAck('echo', i), i);
      return [log.map(([who, event]) => [who, event]), socket.io.engine.transport.name];
    }, (seen) => assert.deepEqual(seen, [[['engine', 'upgradeError']], 'polling']));
  }

  same('none is tried where it is not wanted or not offered', async (client) => {
    const seen = [];
    for (const [there, here] of [[{ allowUpgrades: false }, {}], [{}, { upgrade: false }], [{}, { transports: ['polling'] }]]) {
      const { url, web } = await serve(there);
      let tries = 0;
      web.on('upgrade', () => { tries += 1; });
      const socket = client.io(url, here);
      await next(socket, 'connect');
      for (let i = 0; i < 5; i += 1) await socket.emitWithAck('echo', i);
      seen.push([tries, socket.io.engine.transport.name]);
    }
    return seen;
  }, (seen) => assert.deepEqual(seen, Array.from({ length: 3 }, () => [0, 'polling'])));

  same('closing while it goes on: what was emitted still arrives', async (client) => {
    const seen = [];
    const reasons = [];
    const { url } = await serve({}, (io) => io.on('connection', (socket) => {
      socket.on('last', (n) => seen.push(n));
      socket.on('disconnect', (reason) => reasons.push(reason));
    }));
    for (let i = 0; i < 5; i += 1) {
      const socket = client.io(url);
      await next(socket, 'connect');
      for (let turn = 0; turn < 3 * i; turn += 1) await new Promise(setImmediate);
      socket.emit('last', i);
      socket.io.engine.close();
    }
    await eventually(() => reasons.length, (n) => n === 5, 'five disconnections');
    return [seen.sort(), reasons];
  }, (seen) => assert.deepEqual(seen, [[0, 1, 2, 3, 4], Array.from({ length: 5 }, () => 'transport close')]));

  same('rememberUpgrade', async (client) => {
    const { url } = await serve();
    const names = [];
    for (let i = 0; i < 2; i += 1) {
      const socket = client.io(url, { rememberUpgrade: true, transports: ['polling', 'websocket'] });
      names.push(socket.io.engine.transport.name);
      await next(socket, 'connect');
      if (socket.io.engine.transport.name === 'polling') await next(socket.io.engine, 'upgrade');
      socket.disconnect();
    }
    return names.at(-1);
  }, (name) => assert.equal(name, 'websocket'));
});
