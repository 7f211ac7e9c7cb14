// Our client script beside the official client, as in script.test.mjs. Here: events, acknowledgements, bytes, and what
// waits for a connection.

import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { describe, test } from 'node:test';
import { bytes, collect, eventually, next } from './harness.mjs';
import { Client, on, own, plain, same, serve } from './pair.mjs';

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

describe('another parser', () => {
  class Encoder {
    encode(packet) {
      return [JSON.stringify(packet)];
    }
  }
  class Decoder extends EventEmitter {
    add(text) {
      this.emit('decoded', JSON.parse(text));
    }

    destroy() {}
  }
  same('that the program brings', async (client) => {
    const parser = { Encoder, Decoder };
    const { url } = await serve({ parser });
    const seen = [];
    for (const transports of MODES) {
      const socket = client.io(url, { parser, transports });
      socket.emit('echo', 'x', [1]);
      seen.push(await next(socket, 'echo'), await socket.emitWithAck('echo', { y: 2 }));
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
