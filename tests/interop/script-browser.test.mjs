// Our client script in a real Chromium, loaded as a page loads it, and the official one beside it: what a page can
// observe must be the same. The server is Node's.

import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import http from 'node:http';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import { chromium } from 'playwright-core';
import { Server } from 'socket.io';
import { collect, eventually, repository } from './harness.mjs';

const profile = mkdtempSync(path.join(os.tmpdir(), 'ringhall-chromium-'));
const ours = path.join(repository, 'src/client/dist');
const theirs = path.join(createRequire(import.meta.url).resolve('socket.io'), '../../client-dist');

let browser;
let pages; // the server of the pages, and of the Socket.IO that a page finds by itself
let other; // the same on another origin, for pages of the first
const complaints = [];

async function serve(options) {
  const web = http.createServer((request, response) => {
    const [, whose, file] = request.url.match(/^\/(own|official)\/([\w.]+)$/) ?? [];
    if (file && file !== 'page') {
      const content = readFileSync(path.join(whose === 'own' ? ours : theirs, file));
      return response.writeHead(200, { 'content-type': file.endsWith('.map') ? 'application/json' : 'text/javascript; charset=utf-8' }).end(content);
    }
    if (!whose) return response.writeHead(404).end();
    return response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' })
      .end(`<!doctype html><link rel="icon" href="data:,"><title>${whose}</title><script src="/${whose}/socket.io.min.js"></script>`);
  });
  const io = new Server(web, { serveClient: false, ...options });
  io.engine.on('initial_headers', (headers) => { headers['set-cookie'] = 'seen=1; SameSite=Lax'; });
  io.on('connection', (socket) => {
    socket.on('echo', (...args) => args.pop()(...args));
    socket.on('cookies', (answer) => answer(socket.request.headers.cookie ?? ''));
    socket.on('flood', (n) => { for (let i = 0; i < n; i += 1) socket.emit('down', i, i % 3 ? 'text' : Buffer.alloc(i)); });
  });
  await new Promise((resolve) => { web.listen(0, '127.0.0.1', resolve); });
  return { io, web, url: `http://127.0.0.1:${web.address().port}` };
}

before(async () => {
  pages = await serve({ pingInterval: 500 });
  other = await serve({ cors: { origin: pages.url, credentials: true } });
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
  await browser.setOffline(false);
  for (const page of browser.pages().slice(1)) await page.close();
  assert.deepEqual(complaints.splice(0), []);
});
after(async () => {
  await browser?.close();
  for (const server of [pages, other]) await server?.io.close();
  rmSync(profile, { recursive: true, force: true });
});

async function open(whose) {
  const page = await browser.newPage();
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('console', (message) => { if (message.type() === 'error') complaints.push(message.text()); });
  await page.goto(`${pages.url}/${whose}/page`);
  return page;
}

/** What `script` returns in a page with the official client, and in one with ours. */
function same(title, script, argument = () => undefined) {
  // This suite has Node's server in any case: the reference run need not repeat it.
  test(title, { skip: Boolean(process.env.RINGHALL_REFERENCE) && 'the server is Node\'s in any case' }, async () => {
    const [official, own] = [await open('official'), await open('own')];
    const expected = await official.evaluate(script, argument());
    assert.deepEqual(await own.evaluate(script, argument()), expected);
  });
}

same('io() with nothing configured: polling, then a websocket', async () => {
  const socket = io();
  const log = [];
  for (const event of ['open', 'upgrading', 'upgrade']) socket.io.engine.on(event, () => log.push([event, socket.io.engine.transport.name]));
  const upgraded = new Promise((resolve) => { socket.io.engine.once('upgrade', resolve); });
  const first = socket.io.engine.transport.name;
  await new Promise((resolve) => { socket.once('connect', resolve); });
  await upgraded;
  return [first, log, await socket.emitWithAck('echo', 'ü 😀', { a: [1, null] })];
});

for (const transports of [['polling'], ['websocket']]) {
  for (const forceBase64 of [false, true]) {
    same(`bytes of every kind: ${transports}${forceBase64 ? ' in base64' : ''}`, async (options) => {
      const socket = io(options);
      const whole = Uint8Array.from({ length: 100_000 }, (_, i) => i * 7);
      const sent = [whole, whole.buffer.slice(0, 10), new DataView(whole.buffer, 3, 5), new Blob([whole]), new File(['file'], 'name'), new ArrayBuffer(0)];
      const back = await socket.emitWithAck('echo', sent);
      await socket.emitWithAck('echo', 'and it goes on');
      return back.map((part) => {
        const view = new Uint8Array(part);
        return [part.constructor.name, view.length, view.reduce((sum, byte, i) => (sum * 31 + byte * i) % 1_000_003, 0)];
      });
    }, () => ({ transports, forceBase64 }));
  }
}

for (const withCredentials of [false, true]) {
  same(`another origin, ${withCredentials ? 'with' : 'without'} credentials`, async ([url, options]) => {
    const cookies = [];
    for (let i = 0; i < 2; i += 1) {
      const socket = io(url, { forceNew: true, transports: ['polling'], ...options });
      cookies.push(await socket.emitWithAck('cookies'));
      socket.disconnect();
    }
    return cookies.at(-1);
  }, () => [other.url, { withCredentials }]);
}

same('namespaces, refusals and disconnections', async () => {
  const log = [];
  const socket = io('/nowhere');
  const note = (name) => (value) => log.push([name, value?.message ?? value]);
  socket.on('disconnect', note('disconnect')).on('connect_error', note('connect_error'));
  await new Promise((resolve) => { socket.once('connect_error', resolve); });
  const main = io();
  log.push(main.io === socket.io, main.nsp, socket.nsp);
  main.on('disconnect', note('disconnect'));
  await main.emitWithAck('echo', 1);
  // Who disconnects in the middle of an upgrade may have a request that comes too late: a 400, of which the browser complains.
  const { engine } = main.io;
  if (engine.transport.name !== 'websocket') await new Promise((resolve) => { engine.once('upgrade', resolve); });
  main.disconnect();
  return log;
});

same('without a network: told at once', async () => {
  const socket = io({ reconnection: false, transports: ['websocket'] });
  await new Promise((resolve) => { socket.once('connect', resolve); });
  const gone = new Promise((resolve) => { socket.once('disconnect', (...why) => resolve(why)); });
  dispatchEvent(new Event('offline'));
  return gone;
});

test('what flies in both directions during the upgrade arrives once and in order', async () => {
  const page = await open('own');
  let atServer;
  pages.io.once('connection', (socket) => { atServer = collect(socket, 'up'); });
  const [down, upgraded] = await page.evaluate(async () => {
    const socket = io();
    const numbers = [];
    const upgraded = new Promise((resolve) => { socket.io.engine.once('upgrade', resolve); });
    socket.on('down', (i) => numbers.push(i));
    await new Promise((resolve) => { socket.once('connect', resolve); });
    socket.emit('flood', 500);
    for (let i = 0; i < 500; i += 1) {
      socket.emit('up', i, i % 3 ? 'text' : new Uint8Array(i));
      if (i % 5 === 0) await new Promise((resolve) => { setTimeout(resolve); });
    }
    await upgraded;
    await socket.emitWithAck('echo', 1);
    return [numbers, socket.io.engine.transport.name];
  });
  const all = Array.from({ length: 500 }, (_, i) => i);
  assert.equal(upgraded, 'websocket');
  assert.deepEqual(down, all);
  assert.deepEqual((await atServer.until(500)).map(([i]) => i), all);
});

test('comes back by itself when its connection is cut, and stays over many heartbeats', async () => {
  const page = await open('own');
  await page.evaluate(async () => {
    window.log = [];
    window.socket = io({ reconnectionDelay: 10 });
    for (const event of ['connect', 'disconnect']) socket.on(event, (reason) => log.push(reason ?? event));
    socket.io.on('ping', () => { window.pings = (window.pings ?? 0) + 1; });
    await new Promise((resolve) => { socket.io.engine.once('upgrade', resolve); });
    await socket.emitWithAck('echo', 1);
  });
  for (const session of Object.values(pages.io.engine.clients)) session.transport.socket?.terminate();
  await page.waitForFunction(() => log.length === 3);
  assert.deepEqual(await page.evaluate(() => log), ['connect', 'transport close', 'connect']);
  await page.waitForFunction(() => window.pings >= 3);
  assert.equal(await page.evaluate(() => socket.emitWithAck('echo', 2)), 2);
});

for (const transports of [['polling'], ['websocket']]) {
  test(`a page that is left says so, if it shall: ${transports}`, async () => {
    const page = await open('own');
    const reasons = [];
    pages.io.once('connection', (socket) => socket.on('disconnect', (reason) => reasons.push(reason)));
    await page.evaluate(async (options) => {
      const socket = io(options);
      await new Promise((resolve) => { socket.once('connect', resolve); });
    }, { transports, closeOnBeforeunload: true });
    await page.goto(`${pages.url}/official/page`);
    await eventually(() => reasons, ({ length }) => length === 1, 'the server knows');
    assert.deepEqual(reasons, ['transport close']);
  });
}

test('the other files: the module, the readable one, and the maps', async () => {
  const page = await open('official');
  const found = await page.evaluate(async () => {
    const { io: module, Manager, connect, default: same } = await import('/own/socket.io.esm.min.js');
    const answer = await module({ forceNew: true }).emitWithAck('echo', 'module');
    const script = document.head.appendChild(document.createElement('script'));
    script.src = '/own/socket.io.js';
    await new Promise((resolve) => { script.onload = resolve; });
    const readable = await io({ forceNew: true }).emitWithAck('echo', 'readable');
    const maps = await Promise.all(['min', 'esm.min'].map(async (kind) => {
      const map = await (await fetch(`/own/socket.io.${kind}.js.map`)).json();
      return map.sources.filter((source) => source.endsWith('engine.js')).length;
    }));
    return [answer, typeof Manager, connect === module, same === module, readable, io !== module, io.protocol, maps];
  });
  assert.deepEqual(found, ['module', 'function', true, true, 'readable', true, 5, [1, 1]]);
});
