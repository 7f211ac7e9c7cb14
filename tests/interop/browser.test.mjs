// The page at `/` in a real Chromium: the browser's own WebSocket, text and bytes, and a Socket.IO exchange.

import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { chromium } from 'playwright-core';
import { call, Clients, next, repository, startServer } from './harness.mjs';

const pictures = path.join(repository, 'target', 'browser');
const profile = mkdtempSync(path.join(os.tmpdir(), 'ringhall-chromium-'));

let server;
let clients;
let browser;
let page;
const complaints = [];

before(async () => {
  mkdirSync(pictures, { recursive: true });
  server = await startServer('lobby');
  clients = new Clients(server);
  browser = await chromium.launchPersistentContext(profile, {
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    headless: true,
    viewport: { width: 1200, height: 800 },
    args: [
      '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync',
    ],
  });
  page = await browser.newPage();
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('console', (message) => { if (message.type() === 'error') complaints.push(message.text()); });
  await page.goto(`${server.url}/`);
  await page.locator('#echo-status[data-state="open"]').waitFor();
  await page.locator('#lobby-status[data-state="open"]').waitFor();
});
after(async () => {
  clients?.close();
  await browser?.close();
  await server?.stop();
  rmSync(profile, { recursive: true, force: true });
});

const lines = (part, kind) => page.locator(`#${part}-log li[data-kind="${kind}"]`);

test('text comes back through /echo', async () => {
  await page.locator('#echo-input').fill('Grüße aus dem Browser 😀');
  await page.locator('#echo-send').click();
  await lines('echo', 'in').getByText('Grüße aus dem Browser 😀').waitFor();
  assert.match(await page.locator('#echo-rtt').textContent(), /^[\d.]+ ms$/);
  assert.equal(await page.locator('#echo-count').textContent(), '1');
});

test('bytes come back through /echo', async () => {
  await page.locator('#echo-input').fill('bytes ü');
  await page.locator('#echo-send-binary').click();
  await lines('echo', 'in').getByText('8 bytes: 62 79 74 65 73 20 c3 bc').waitFor();
});

test('a megabyte in the browser\'s own socket comes back unchanged', async () => {
  const same = await page.evaluate(async () => {
    const sent = new Uint8Array(1_000_003).map((_, i) => (i * 31) ^ (i >> 8));
    const socket = new WebSocket(`${location.origin.replace('http', 'ws')}/echo`);
    socket.binaryType = 'arraybuffer';
    await new Promise((resolve) => { socket.onopen = resolve; });
    socket.send(sent);
    const { data } = await new Promise((resolve) => { socket.onmessage = resolve; });
    const end = new Promise((resolve) => { socket.onclose = ({ code, wasClean }) => resolve({ code, wasClean }); });
    socket.close(1000);
    const received = new Uint8Array(data);
    return { same: received.length === sent.length && received.every((byte, i) => byte === sent[i]), ...await end };
  });
  assert.deepEqual(same, { same: true, code: 1000, wasClean: true });
});

test('the page and a Socket.IO client hear each other', async () => {
  const friend = await clients.connect('/');
  const heard = next(friend, 'chat');
  await page.locator('#lobby-input').fill('hello from the page');
  await page.locator('#lobby-send').click();
  assert.deepEqual(await heard, ['hello from the page']);
  await lines('lobby', 'note').getByText('heard by 1').waitFor();
  assert.equal(await page.locator('#lobby-heard').textContent(), '1');

  assert.equal(await call(friend, 'chat', 'and back', { n: 1 }), 1);
  await lines('lobby', 'in').getByText('chat "and back" {"n":1}').waitFor();
});

test('the page joins a room and is addressed there', async () => {
  const friend = await clients.connect('/');
  assert.equal(await call(friend, 'to', 'red', 'chat', 'too early'), 0);
  await page.locator('#lobby-room').fill('red');
  await page.locator('#lobby-join').click();
  await page.locator('#lobby-rooms').getByText('red').waitFor();
  assert.equal(await call(friend, 'to', 'red', 'chat', 'now'), 1);
  await lines('lobby', 'in').getByText('chat "now"').waitFor();
  assert.equal(await lines('lobby', 'in').getByText('too early').count(), 0);
});

test('the page looks right by day, by night and on a phone', async () => {
  const views = {
    light: [{ width: 1200, height: 800 }, 'light'],
    dark: [{ width: 1200, height: 800 }, 'dark'],
    phone: [{ width: 360, height: 740 }, 'light'],
  };
  for (const [name, [size, colorScheme]] of Object.entries(views)) {
    await page.setViewportSize(size);
    await page.emulateMedia({ colorScheme });
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(overflow <= 0, `${name}: ${overflow} px too wide`);
    await page.screenshot({ path: path.join(pictures, `${name}.png`), fullPage: true });
  }
});

test('the page complains about nothing, sees the server go, and finds the next one', async () => {
  assert.deepEqual(complaints, []);
  const { port } = server;
  // Looked for from before the end on: the page tries again soon, and then shows how that failed.
  const told = ['echo', 'lobby'].map((part) => page.locator(`#${part}-status`).getByText('closed (1001)').waitFor());
  assert.deepEqual(await server.stop(), { code: 0, signal: null });
  await Promise.all(told);
  server = await startServer('lobby', { port });
  await page.locator('#echo-status[data-state="open"]').waitFor();
  await page.locator('#lobby-status[data-state="open"]').waitFor();
});
