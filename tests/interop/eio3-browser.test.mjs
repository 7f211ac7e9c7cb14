// Clients of revision 3 (`allow_eio3`) in a real Chromium: unlike under Node, they take and send binary bodies on polling.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { chromium } from 'playwright-core';
import { bytes, call, Clients, collect, startServer, within } from './harness.mjs';

const find = createRequire(import.meta.url);
const ENGINE3 = path.join(path.dirname(find.resolve('engine.io-client-3/package.json')), 'engine.io.js');
const CLIENT2 = path.join(path.dirname(find.resolve('socket.io-client-2/package.json')), 'dist/socket.io.js');

const WAYS = {
  'polling': { transports: ['polling'] },
  'polling, in base64': { transports: ['polling'], forceBase64: true },
  'websocket': { transports: ['websocket'] },
  'websocket, in base64': { transports: ['websocket'], forceBase64: true },
  'the upgrade from one to the other': {},
};

const BINARY = 'application/octet-stream';
const TEXTS = [
  '', 'text', '\0\u007f\u0080\u07ff\u0800\ud7ff\ue000\uffff\u{10000}\u{10ffff}', 'ü€😀'.repeat(100), '4', 'b4AQID', '3:4hi', '\u001e', 'a\ud800', '\udfffb',
];

const profile = mkdtempSync(path.join(os.tmpdir(), 'ringhall-chromium-'));
const complaints = [];
let engine;
let interop;
let browser;
let clients;

before(async () => {
  engine = await startServer('engine', { args: ['--allow-eio3', '--cores', '2'] });
  interop = await startServer('interop', { args: ['--allow-eio3', '--cores', '2'] });
  clients = new Clients(interop);
  browser = await chromium.launchPersistentContext(profile, {
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    headless: true,
    args: [
      '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync',
    ],
  });
});
afterEach(async () => {
  clients.close();
  for (const page of browser.pages().slice(1)) await page.close();
  assert.deepEqual(complaints.splice(0), []);
});
after(async () => {
  await browser?.close();
  for (const server of [engine, interop]) await server?.stop();
  rmSync(profile, { recursive: true, force: true });
});

/** A page of the server's origin with this script, and the types of the bodies that went over polling: `asked`, `answered`. */
async function open(server, at, script) {
  const page = await browser.newPage();
  // Any answer of the server makes a page of its origin. One that is made up here would have no address, and no way to a loopback WebSocket.
  await page.goto(`${server.url}${at}/?EIO=4&transport=none`);
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('console', (message) => {
    // Chromium asks for an icon, which such a page cannot name.
    if (message.type() === 'error' && !message.location().url.endsWith('/favicon.ico')) complaints.push(message.text());
  });
  await page.addScriptTag({ path: script });
  const types = { asked: new Set(), answered: new Set() };
  page.on('request', (request) => { if (request.method() === 'POST') types.asked.add(request.headers()['content-type']); });
  page.on('response', (response) => { if (response.url().includes('EIO=3')) types.answered.add(response.headers()['content-type']); });
  return { page, types };
}

for (const [way, options] of Object.entries(WAYS)) {
  const takesBinary = !options.forceBase64;
  describe(way, () => {
    test('Engine.IO: texts of every kind, and bytes, come back as they were, in order', async () => {
      const { page, types } = await open(engine, '/engine.io', ENGINE3);
      const { sent, heard } = await within(page.evaluate(([url, opts, texts, blobs]) => new Promise((resolve, reject) => {
        const hex = (view) => Array.from(view, (byte) => byte.toString(16).padStart(2, '0')).join('');
        const session = window.eio(url, { path: '/engine.io', ...opts });
        session.binaryType = 'arraybuffer';
        const wanted = [];
        const got = [];
        const send = (data, as) => { wanted.push(as); session.send(data); };
        session.on('open', () => {
          for (let round = 0; round < 20; round += 1) {
            for (const text of texts) send(text, text);
            for (const length of [0, 1, 3, 125, 126, 10_000]) {
              const data = Uint8Array.from({ length }, (_, i) => (i * 7 + round) & 255);
              send(blobs ? new Blob([data]) : data.buffer, hex(data));
              send('between', 'between');
            }
          }
        });
        session.on('message', (data) => {
          got.push(typeof (data ?? '') === 'string' ? data ?? '' : hex(new Uint8Array(data)));
          if (got.length < wanted.length) return;
          session.close();
          resolve({ sent: wanted, heard: got });
        });
        session.on('close', (reason) => { if (got.length < wanted.length) reject(new Error(`closed: ${reason}`)); });
      }), [engine.url, options, TEXTS, takesBinary]), 'all messages');
      assert.deepEqual(heard, sent.map((text) => text.toWellFormed?.() ?? Buffer.from(text).toString()));
      if (options.transports?.[0] === 'polling') {
        for (const direction of ['asked', 'answered']) assert.equal(types[direction].has(BINARY), takesBinary, direction);
      }
    });

    test('Socket.IO: acknowledgements with bytes, and broadcasts between it and a client of today', async () => {
      const { page, types } = await open(interop, '/socket.io', CLIENT2);
      const { answer, id } = await within(page.evaluate(([url, opts]) => new Promise((resolve) => {
        const socket = window.io(`${url}/chat`, { forceNew: true, query: { token: 'ü' }, ...opts });
        window.socket = socket;
        window.heard = new Promise((hear) => {
          socket.on('said', (text, data) => hear([text, Array.from(new Uint8Array(data))]));
        });
        socket.emit('join', 'hall', () => {
          const data = Uint8Array.from({ length: 5000 }, (_, i) => i & 255);
          socket.emit('echo-ack', 'ü😀', { data: data.buffer }, new Blob([data]), (text, back, blob) => {
            const same = [back.data, blob].map((buffer) => String(new Uint8Array(buffer)) === String(data));
            socket.emit('who-am-i', ({ auth }) => resolve({ answer: [text, ...same, auth], id: socket.id }));
          });
        });
      }), [interop.url, options]), 'an acknowledgement');
      assert.deepEqual(answer, ['ü😀', true, true, { token: 'ü' }]);

      const today = await clients.connect('/chat');
      await call(today, 'join', 'hall');
      const heard = collect(today, 'said');
      await page.evaluate(() => {
        const args = ['from the page', Uint8Array.of(1, 2, 3).buffer];
        window.socket.emit('emit-op', { from: 'socket', to: ['hall'], event: 'said', args });
      });
      const [[text, data]] = await heard.until(1);
      assert.deepEqual([text, ...data], ['from the page', 1, 2, 3]);
      await call(today, 'emit-op', { from: 'nsp', to: [id], event: 'said', args: ['to its id', bytes(300)] });
      assert.deepEqual(await within(page.evaluate(() => window.heard), 'said'), ['to its id', [...bytes(300)]]);
      if (options.transports?.[0] === 'polling') {
        for (const direction of ['asked', 'answered']) assert.equal(types[direction].has(BINARY), takesBinary, direction);
      }
    });
  });
}
