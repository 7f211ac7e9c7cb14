// Engine.IO by itself (examples/engine_echo.rs), seen by npm's engine.io-client: both transports, the upgrade between them, text and bytes.

import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { Socket } from 'engine.io-client';
import { bytes, cores, next, startServer, within } from './harness.mjs';

let server;
const open = [];

before(async () => {
  server = await startServer('engine', { args: ['--cores', `${cores}`, '--ping-interval', '300', '--ping-timeout', '2000'] });
});
afterEach(() => open.splice(0).forEach((socket) => socket.close()));
after(() => server?.stop());

async function connect(options) {
  const socket = new Socket(server.url, { path: '/engine.io', ...options });
  socket.binaryType = 'arraybuffer';
  open.push(socket);
  await next(socket, 'open');
  return socket;
}

// Nothing and an empty text are one thing on the wire.
const isBytes = (data) => typeof (data ?? '') !== 'string';
const plain = (data) => (isBytes(data) ? Buffer.from(data).toString('hex') : data ?? '');

for (const [title, options] of [
  ['polling', { transports: ['polling'] }],
  ['polling, in base64', { transports: ['polling'], forceBase64: true }],
  ['websocket', { transports: ['websocket'] }],
  ['websocket, in base64', { transports: ['websocket'], forceBase64: true }],
  ['the upgrade from one to the other', {}],
]) {
  describe(title, () => {
    test('messages come back as they were, in order', async () => {
      const socket = await connect(options);
      const sent = ['', 'text', 'ü€😀', '4', 'b', '\u001f', bytes(0), bytes(3), bytes(70_000), 'x'.repeat(70_000)];
      for (let i = 0; i < 200; i += 1) sent.push(i % 3 ? `${i}` : bytes(i));
      const heard = [];
      const all = new Promise((resolve) => socket.on('message', (data) => {
        heard.push(plain(data));
        if (heard.length === sent.length) resolve();
      }));
      for (const message of sent) {
        socket.send(message);
        if (heard.length % 7 === 0) await new Promise((resolve) => { setImmediate(resolve); });
      }
      await within(all, 'every message');
      assert.deepEqual(heard, sent.map(plain));
    });

    test('a client that answers pings stays', async () => {
      const socket = await connect(options);
      let pings = 0;
      await within(new Promise((resolve, reject) => {
        socket.on('ping', () => { pings += 1; if (pings === 3) resolve(); });
        socket.on('close', reject);
      }), 'three pings');
      socket.send('still here');
      assert.equal((await next(socket, 'message'))[0], 'still here');
    });
  });
}

test('the upgrade takes place', async () => {
  const socket = await connect({});
  assert.equal(socket.transport.name, 'polling');
  await next(socket, 'upgrade');
  assert.equal(socket.transport.name, 'websocket');
});

test('a client that leaves is gone: its session is unknown afterwards', async () => {
  for (const transports of [['polling'], ['websocket']]) {
    const socket = await connect({ transports });
    const url = `${server.url}/engine.io/?EIO=4&transport=polling&sid=${encodeURIComponent(socket.id)}`;
    socket.close();
    await within((async () => {
      for (;;) {
        const answer = await (await fetch(url)).json().catch(() => null);
        if (answer?.code === 1) return;
        await new Promise((resolve) => { setTimeout(resolve, 20); });
      }
    })(), 'unknown');
  }
});
