// The Socket.IO Admin UI of npm's package in a real Chromium: log in, see sockets and rooms change, disconnect one.

import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { call, Clients, next, repository, startServer } from './harness.mjs';

const pictures = path.join(repository, 'target', 'screenshots');
const files = fileURLToPath(new URL('node_modules/@socket.io/admin-ui/ui/dist', import.meta.url));
const types = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.png': 'image/png', '.svg': 'image/svg+xml' };

let web;
let browser;
let server;
let clients;
let page;

before(async () => {
  mkdirSync(pictures, { recursive: true });
  web = http.createServer((request, response) => {
    const { pathname } = new URL(request.url, 'http://ui');
    const file = path.join(files, path.normalize(pathname === '/' ? '/index.html' : pathname));
    if (!file.startsWith(files) || !existsSync(file)) return response.writeHead(404).end();
    return response.writeHead(200, { 'content-type': types[path.extname(file)] ?? 'application/octet-stream' }).end(readFileSync(file));
  });
  await new Promise((resolve) => { web.listen(0, '127.0.0.1', resolve); });
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    headless: true,
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
  server = await startServer('admin');
  clients = new Clients(server);
});
afterEach(async () => {
  clients?.close();
  await page?.close();
});
after(async () => {
  await browser?.close();
  web?.close();
  await server?.stop();
});

async function open() {
  page = await browser.newPage({ viewport: { width: 1280, height: 860 } });
  page.setDefaultTimeout(20_000);
  // Fonts and icons come from elsewhere, and are not needed.
  await page.route((url) => url.hostname !== '127.0.0.1', (route) => route.abort());
  await page.goto(`http://127.0.0.1:${web.address().port}/`);
  await page.getByLabel('Server URL').fill(server.url);
  await page.getByLabel('Username').fill('admin');
}

async function logIn() {
  await open();
  await page.getByLabel('Password').fill('changeit');
  await page.getByRole('button', { name: 'Connect' }).click();
  await page.getByText('connected', { exact: true }).first().waitFor();
}

async function show(name) {
  await page.getByRole('link', { name, exact: true }).first().click();
}

async function choose(namespace) {
  await page.locator('.v-select', { hasText: 'Select namespace' }).first().click();
  await page.getByRole('option', { name: namespace, exact: true }).click();
}

const picture = (name) => page.screenshot({ path: path.join(pictures, `admin-${name}.png`) });

test('a wrong password does not open it', async () => {
  await open();
  await page.getByLabel('Password').fill('wrong');
  await page.getByRole('button', { name: 'Connect' }).click();
  await page.getByText('invalid credentials', { exact: false }).first().waitFor();
  await picture('refused');
});

test('sockets and rooms come and go, and one is disconnected', async () => {
  await logIn();
  await show('Sockets');
  const first = await clients.connect('/chat');
  await choose('/chat');
  const row = (id) => page.locator('tbody tr', { has: page.locator('td:first-child', { hasText: id }) });
  const firstId = first.id; // it has none once it is disconnected
  await row(first.id).waitFor();
  const second = await clients.connect('/chat');
  await row(second.id).waitFor();
  await picture('sockets');

  await call(first, 'join', 'the lobby');
  await show('Rooms');
  await row('the lobby').waitFor();
  await picture('rooms');
  await call(first, 'leave', 'the lobby');
  await row('the lobby').waitFor({ state: 'detached' });

  await show('Sockets');
  const reason = next(first, 'disconnect');
  await row(first.id).getByRole('button').click();
  assert.equal((await reason)[0], 'io server disconnect');
  // The click has also opened the page of this socket.
  await page.getByText('disconnected', { exact: true }).first().waitFor();
  await picture('disconnected');
  await show('Sockets');
  await row(second.id).waitFor();
  await row(firstId).waitFor({ state: 'detached' });
  assert.ok(second.connected);
});

test('events, clients, servers and the dashboard', async () => {
  await logIn();
  await show('Events');
  const member = await clients.connect('/chat');
  await choose('/chat');
  const heard = next(member, 'said');
  member.emit('say', 'hello');
  await heard;
  await page.locator('tbody tr', { hasText: member.id }).first().waitFor();
  await picture('events');
  await show('Clients');
  await page.locator('tbody tr').nth(1).waitFor();
  await picture('clients');
  await show('Servers');
  await page.locator('tbody tr', { hasText: String(server.child.pid) }).waitFor();
  await picture('servers');
  await show('Dashboard');
  await page.waitForTimeout(2500);
  await picture('dashboard');
});
