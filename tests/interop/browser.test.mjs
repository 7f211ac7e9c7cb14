// The page at `/` in a real Chromium, over http and https: rooms, chat, the upgrade, a connection that is cut, and how it looks.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { chromium } from 'playwright-core';
import { call, Clients, isReference, next, repository, startServer } from './harness.mjs';

const pictures = path.join(repository, 'target', 'screenshots');
const DESKTOP = { width: 1280, height: 860 };
const PHONE = { width: 360, height: 740 };

/** A wire to a server that can be cut: both ends are destroyed, and until it is mended nobody gets through. */
class Wire {
  #ends = new Set();
  #isCut = false;

  constructor(port) {
    this.listener = net.createServer((near) => {
      if (this.#isCut) return void near.resetAndDestroy();
      const far = net.connect(port, '127.0.0.1');
      for (const [one, other] of [[near, far], [far, near]]) {
        this.#ends.add(one);
        one.on('error', () => {}); // its close follows
        one.on('close', () => {
          this.#ends.delete(one);
          other.destroy();
        });
        one.pipe(other);
      }
    });
  }

  async open() {
    await new Promise((resolve) => { this.listener.listen(0, '127.0.0.1', resolve); });
    this.port = this.listener.address().port;
    return this;
  }

  cut() {
    this.#isCut = true;
    for (const end of this.#ends) end.destroy();
  }

  mend() {
    this.#isCut = false;
  }

  close() {
    this.cut();
    this.listener.close();
  }
}

let browser;
before(async () => {
  mkdirSync(pictures, { recursive: true });
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    headless: true,
    args: [
      '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync',
    ],
  });
});
after(() => browser?.close());

test('the policy of the page names the script and the style that stand on it', () => {
  const html = readFileSync(path.join(repository, 'src/gateway/page.html'), 'utf8');
  for (const part of ['script', 'style']) {
    const [, text] = html.match(new RegExp(`<${part}>(.*?)</${part}>`, 's'));
    const hash = `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
    const [, named] = html.match(new RegExp(`${part}-src (?:'self' )?('sha256-[^']*')`));
    assert.equal(named, hash);
  }
});

for (const scheme of isReference ? ['http'] : ['http', 'https']) describe(scheme, () => {
  let server;
  let clients;
  const closing = [];
  const complaints = [];
  const options = scheme === 'https' ? { scheme: 'https://', args: ['--tls-self-signed'] } : {};

  before(async () => {
    server = await startServer('lobby', options);
    clients = new Clients(server);
  });
  afterEach(async () => {
    clients.close();
    await Promise.all(closing.splice(0).map((one) => one.close()));
    assert.deepEqual(complaints.splice(0), []);
  });
  after(() => server?.stop());

  /** A client that is no page. */
  const friendOf = (auth) => clients.connect('/', { rejectUnauthorized: false, auth });

  /** The lobby as somebody sees it, in a profile of their own. */
  async function visit({ name, port = server.port, hash = '', viewport = DESKTOP, prepare, ...view } = {}) {
    const context = await browser.newContext({ viewport, ignoreHTTPSErrors: true, reducedMotion: 'reduce', ...view });
    closing.push(context);
    const page = await context.newPage();
    page.on('pageerror', (error) => complaints.push(error.message));
    page.on('console', (message) => {
      // The browser itself reports connections that were cut or refused.
      if (message.type() === 'error' && !/net::ERR_|WebSocket connection to/.test(message.text())) complaints.push(message.text());
    });
    await prepare?.(page);
    await page.goto(`${scheme}://127.0.0.1:${port}/${hash}`);
    await online(page);
    if (name) await rename(page, name);
    return page;
  }

  const online = (page) => page.locator('#state[data-state="online"]').waitFor();
  const shown = (page, text, kind = '') => page.locator(`#logs .log:not([hidden]) li${kind}`).getByText(text, { exact: true }).waitFor();
  async function rename(page, name) {
    await page.locator('#name').fill(name);
    await page.locator('#name').press('Enter');
  }
  async function join(page, room) {
    await page.locator('#room').fill(room);
    await page.locator('#join button').click();
    await page.locator('#rooms [aria-current="true"]').getByText(room, { exact: true }).waitFor();
  }
  async function say(page, text) {
    await page.locator('#text').fill(text);
    await page.locator('#say button').click();
  }
  const person = (page, name) => page.locator('#people li').getByText(name, { exact: true });
  const tab = (page, room) => page.locator('#rooms button').filter({ hasText: room });

  test('two pages meet, join a room and chat in it', async () => {
    const ada = await visit({ name: 'Ada' });
    const bo = await visit({ name: 'Bo' });
    await person(bo, 'Ada').waitFor();
    await person(ada, 'Bo').waitFor();

    await say(ada, 'Is anyone here?');
    await shown(bo, 'Is anyone here?', '.said');
    await shown(bo, 'Ada', '.said');
    await ada.locator('.said small').getByText(/^heard by 1 · [\d.]+ ms$/).waitFor();

    await join(ada, 'red');
    await join(bo, 'red');
    await shown(ada, 'Bo came in');
    await say(ada, 'In the red room\nthere are two lines');
    await shown(bo, 'In the red room there are two lines', '.said');
    await tab(bo, 'Everyone').click();
    await say(ada, 'and a third');
    await tab(bo, 'red').locator('b').getByText('1', { exact: true }).waitFor();
    assert.equal(await bo.locator('#logs .log:not([hidden])').getByText('third').count(), 0, 'it stays in its room');
    await tab(bo, 'red').click();
    await shown(bo, 'and a third', '.said');

    await rename(bo, 'Bodo');
    await shown(ada, 'Bo is now Bodo');
    await bo.locator('#leave').click();
    await shown(ada, 'Bodo left');
    await person(ada, 'Bodo').waitFor({ state: 'detached' });
    await tab(ada, 'Everyone').click();
    await person(ada, 'Bodo').waitFor();
    await bo.close();
    await shown(ada, 'Bodo left');
    await person(ada, 'Bodo').waitFor({ state: 'detached' });
  });

  test('the connection goes from polling to a websocket, and the page shows it', async () => {
    const asked = [];
    const page = await visit({
      async prepare(page) {
        page.on('request', (request) => { if (request.url().includes('transport=polling')) asked.push('polling'); });
        page.on('websocket', (socket) => { if (socket.url().includes('transport=websocket')) asked.push('websocket'); });
        await page.addInitScript(() => {
          globalThis.transportsShown = [];
          new MutationObserver((changes) => {
            for (const { target: { id, dataset } } of changes) {
              if (dataset.on === 'true' && globalThis.transportsShown.at(-1) !== id) globalThis.transportsShown.push(id);
            }
          }).observe(document, { subtree: true, attributeFilter: ['data-on'] });
        });
      },
    });
    await page.locator('#websocket[data-on="true"]').waitFor();
    assert.deepEqual(await page.evaluate(() => globalThis.transportsShown), ['polling', 'websocket']);
    assert.equal(asked[0], 'polling');
    assert.ok(asked.includes('websocket'));
    assert.match(await page.locator('#upgraded').textContent(), /^after [\d.]+ ms$/);
    await page.locator('#rtt').getByText(/^[\d.]+ ms$/).waitFor();
    await page.waitForFunction(() => document.querySelector('#trips').getAttribute('d')?.split('M').length > 2);
  });

  test('a page that is cut off says so, comes back by itself, and is in its rooms again', async () => {
    const wire = await new Wire(server.port).open();
    closing.push(wire);
    const ada = await visit({ name: 'Ada', port: wire.port });
    const bo = await visit({ name: 'Bo', hash: '#red' });
    await join(ada, 'red');
    await person(bo, 'Ada').waitFor();
    await ada.locator('#websocket[data-on="true"]').waitFor();
    const id = await ada.locator('#socket').textContent();

    wire.cut();
    await shown(ada, 'Connection lost (transport close)');
    await shown(bo, 'Ada left');
    await ada.locator('#state[data-state="reconnecting"]').filter({ hasText: /attempt [2-9]/ }).waitFor();
    if (scheme === 'http') await ada.screenshot({ path: path.join(pictures, 'reconnecting.png') });
    await say(ada, 'said into the dark');
    await ada.locator('.said small').getByText('waits for the connection').waitFor();
    await say(bo, 'where is Ada?');

    wire.mend();
    await online(ada);
    await bo.locator('.note').getByText('Ada came in').nth(1).waitFor(); // the first time was when she joined the room
    await shown(ada, /^Connected again after [\d.]+ s$/);
    await shown(bo, 'said into the dark', '.said');
    await ada.locator('.said small').getByText(/^heard by 1/).waitFor();
    await ada.locator('#websocket[data-on="true"]').waitFor();
    assert.notEqual(await ada.locator('#socket').textContent(), id);
    await person(ada, 'Bo').waitFor();
    await say(bo, 'welcome back');
    await shown(ada, 'welcome back', '.said');
    await say(ada, 'thank you');
    await shown(bo, 'thank you', '.said');
    assert.equal(await ada.getByText('where is Ada?').count(), 0, 'nobody told her');
  });

  test('who disconnects is gone until they connect', async () => {
    const ada = await visit({ name: 'Ada', hash: '#red' });
    const bo = await visit({ name: 'Bo', hash: '#red' });
    await person(bo, 'Ada').waitFor();
    await ada.locator('#toggle').click();
    await ada.locator('#state[data-state="offline"]').waitFor();
    await shown(bo, 'Ada left');
    await ada.locator('#toggle').click();
    await online(ada);
    await shown(bo, 'Ada came in');
    await say(bo, 'hello again');
    await shown(ada, 'hello again', '.said');
  });

  test('a program and the page hear each other', async () => {
    const page = await visit({ name: 'Ada' });
    const friend = await friendOf({ will: ['farewell', { to: 'all' }] });
    const heard = next(friend, 'chat');
    await say(page, 'hello from the page');
    const [{ name, room, text }] = await heard;
    assert.deepEqual({ name, room, text }, { name: 'Ada', room: '', text: 'hello from the page' });

    assert.equal(await call(friend, 'chat', { who: 'friend', name: 'Friend', room: '', text: 'and back' }), 1);
    await shown(page, 'and back', '.said');
    assert.equal(await call(friend, 'news', 'plain', { n: 1 }, Buffer.from('bytes')), 1);
    await shown(page, 'news "plain" {"n":1} "5 bytes"', '.event');

    assert.equal(await call(friend, 'to', 'red', 'news', 'too early'), 0);
    await join(page, 'red');
    assert.equal(await call(friend, 'to', 'red', 'news', 'now'), 1);
    friend.disconnect();
    await tab(page, 'Everyone').click();
    await shown(page, 'news "now"', '.event');
    await shown(page, 'farewell {"to":"all"}', '.event');
    assert.equal(await page.getByText('too early').count(), 0);
  });

  test('nothing that others say becomes HTML, or does harm', async () => {
    const page = await visit({ name: 'Ada', hash: '#<b>red</b>' });
    await tab(page, 'Everyone').click();
    const friend = await friendOf();
    const evil = '<img src=x onerror="document.title=1"><script>document.title=2</script>';
    const card = { who: evil, visit: 1, socket: friend.id, name: evil, rooms: [evil, '<b>red</b>', 7, null] };
    await call(friend, 'here', { ...card, ask: true });
    for (const odd of [null, 7, 'text', [], {}, { who: 1 }, { who: 'x', rooms: 'y', name: {} }, { ...card, socket: '' }]) {
      for (const event of ['here', 'gone', 'chat', 'writing']) await call(friend, event, odd);
    }
    await call(friend, 'writing', evil, '');
    await call(friend, 'chat', { who: evil, name: evil, room: '', text: evil });
    await call(friend, 'chat', { who: evil, name: evil, room: 'a room it is not in', text: evil });
    await call(friend, 'gone', { who: evil, visit: 2 });
    for (const event of [evil, '__proto__', 'constructor', 'toString']) await call(friend, event, evil);
    await call(friend, 'chat', { who: 'x', name: 'the\u202e end\n.', room: '', text: 'the end' });

    await shown(page, 'the end', '.said');
    await shown(page, 'the  end .', '.said');
    await shown(page, evil, '.said');
    await person(page, evil.slice(0, 32).trim()).waitFor();
    const found = await page.evaluate(() => [document.title, document.querySelectorAll('main :is(img, script), main b:not(#rooms > button > b)').length]);
    assert.deepEqual(found, ['Ringhall · lobby', 0]);
    await tab(page, '<b>red</b>').click();
    await page.locator('#leave').click();
  });

  test('a log keeps the last lines and follows them, unless somebody reads further up', async () => {
    const page = await visit({ hash: '#red' });
    const friend = await friendOf();
    const tell = (room, i) => call(friend, 'chat', { who: 'f', name: 'Friend', room, text: `line ${i}` });
    const log = page.locator('#logs .log:not([hidden])');
    const unseen = () => log.evaluate((node) => Math.round(node.scrollHeight - node.scrollTop - node.clientHeight));
    await Promise.all(Array.from({ length: 400 }, (_, i) => tell('red', i)));
    await shown(page, 'line 399', '.said');
    assert.equal(await log.locator('li').count(), 300);
    await shown(page, 'line 100', '.said');
    assert.ok(await unseen() < 2);

    await log.evaluate((node) => new Promise((resolve) => {
      node.addEventListener('scroll', resolve, { once: true });
      node.scrollTop -= 1000;
    }));
    await tell('red', 400);
    await shown(page, 'line 400', '.said');
    assert.ok(await unseen() > 900);
    await say(page, 'an own line is seen');
    assert.ok(await unseen() < 60);

    await Promise.all(Array.from({ length: 120 }, (_, i) => tell('', i)));
    await tab(page, 'Everyone').locator('b').getByText('99+').waitFor();
    await tab(page, 'Everyone').click();
    await shown(page, 'line 119', '.said');
    assert.ok(await unseen() < 2);
    assert.equal(await page.locator('#rooms b').count(), 0);
  });

  test('everything can be done with the keyboard', async () => {
    const page = await visit({ viewport: PHONE, hasTouch: true });
    const press = (...keys) => keys.reduce((done, key) => done.then(() => page.keyboard.press(key)), Promise.resolve());
    const focused = () => page.evaluate(() => document.activeElement.id || document.activeElement.textContent);
    await press('Tab');
    assert.equal(await focused(), 'name');
    await page.keyboard.type('Kay');
    await press('Tab');
    assert.equal(await focused(), 'Everyone');
    await press('Tab');
    await page.keyboard.type('keys');
    await press('Enter');
    assert.equal(await focused(), 'text');
    await page.keyboard.type('one');
    await press('Shift+Enter');
    await page.keyboard.type('two');
    await press('Enter');
    await shown(page, 'one two', '.said');
    await press('Shift+Tab', 'Shift+Tab');
    assert.equal(await focused(), 'leave');
    await press('Enter');
    assert.equal(await focused(), 'Everyone');
    assert.equal(await page.locator('#rooms button').count(), 1);
  });

  describe('echo', () => {
    const line = (page, text) => page.locator('#echo-log li[data-kind="in"]').getByText(text).waitFor();

    test('text and bytes come back', async () => {
      const page = await visit();
      await page.locator('#echo-input').fill('Grüße aus dem Browser 😀');
      await page.locator('#echo-send').click();
      await line(page, 'Grüße aus dem Browser 😀');
      await page.locator('#echo-log time').getByText(/^[\d.]+ ms$/).waitFor();
      await page.locator('#echo-input').fill('bytes ü');
      await page.locator('#echo-bytes').click();
      await line(page, '8 bytes: 62 79 74 65 73 20 c3 bc');
    });

    test('a megabyte in the browser\'s own socket comes back unchanged', async () => {
      const page = await visit();
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
  });

  /** A room with a past: long names, long words, several lines, and more than fits. */
  async function crowd(page) {
    const others = [
      ['Grace', 'Good morning!'], ['Grace', 'The upgrade took four milliseconds here.'],
      ['Wolfeschlegelsteinhausenbergerdo', 'My name is longer than most, and it has no space to break at.'],
      ['世界の友達', 'こんにちは、元気ですか'], ['ليلى', 'مرحبا بالجميع'],
      ['Lin', `https://example.org/${'long-path-without-an-end/'.repeat(12)}`],
      ['Lin', 'fn main() {\n    println!("several lines");\n}'],
    ];
    for (const [i, [name, text]] of others.entries()) {
      const friend = await friendOf();
      await call(friend, 'here', { who: `f${name}`, visit: 1, socket: friend.id, name, rooms: i % 2 ? [] : ['red'], ask: true });
      await call(friend, 'chat', { who: `f${name}`, name, room: '', text });
    }
    await say(page, 'Hello to all of you. This one is a little longer, so that it has to break somewhere before the edge of the card.');
    await page.locator('.said.mine small').getByText(/heard by/).waitFor();
    const last = await friendOf();
    for (let i = 1; i <= 3; i += 1) await call(last, 'chat', { who: 'r', name: 'Ringo', room: 'red', text: `In red, ${i}` });
    await call(last, 'deploy', { version: '4.8.1', ok: true });
    await call(last, 'chat', { who: 'fGrace', name: 'Grace', room: '', text: 'See you in red.' });
    await call(last, 'writing', 'Grace', '');
    await shown(page, 'See you in red.', '.said');
  }

  test('it looks right by day, by night and on a phone', async () => {
    const views = {
      light: { colorScheme: 'light' },
      dark: { colorScheme: 'dark' },
      phone: { viewport: PHONE, deviceScaleFactor: 2, isMobile: true, hasTouch: true },
      tablet: { viewport: { width: 800, height: 1000 }, hasTouch: true },
      'phone-wide': { viewport: { width: 740, height: 360 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true },
      'phone-dark': { viewport: PHONE, deviceScaleFactor: 2, isMobile: true, hasTouch: true, colorScheme: 'dark' },
    };
    for (const [name, view] of Object.entries(views)) {
      const page = await visit({ name: 'Ada', ...view });
      const picture = (suffix = '', more) => page.screenshot({ path: path.join(pictures, `${scheme}-${name}${suffix}.png`), ...more });
      const fits = async (when) => {
        const [over, bottom, height] = await page.evaluate(() => [
          document.documentElement.scrollWidth - document.documentElement.clientWidth,
          document.querySelector('#say').getBoundingClientRect().bottom,
          innerHeight,
        ]);
        assert.ok(over <= 0, `${name}, ${when}: ${over} px too wide`);
        assert.ok(bottom <= height, `${name}, ${when}: the message field ends at ${bottom} of ${height}`);
      };
      await page.locator('#websocket[data-on="true"]').waitFor();
      await page.waitForFunction(() => document.querySelector('#trips').getAttribute('d')?.split('M').length > 4);
      await fits('empty');
      await picture('-empty');
      await join(page, 'red');
      await join(page, 'a room with a rather long name, really');
      await tab(page, 'Everyone').click();
      await crowd(page);
      await page.locator('#echo-send').click();
      await page.locator('#echo-log li[data-kind="in"]').waitFor();
      await page.evaluate(() => scrollTo(0, 0));
      await fits('full');
      await picture();
      await picture('-whole', { fullPage: true });
      if (view.isMobile) {
        await page.setViewportSize({ width: 360, height: 400 }); // what a keyboard leaves
        await page.locator('#text').focus();
        await page.locator('#text').scrollIntoViewIfNeeded();
        await fits('with a keyboard');
        await picture('-keyboard');
      }
      clients.close();
      await page.context().close();
    }
  });

  test('the page sees the server go, and finds the next one', async () => {
    const page = await visit({ name: 'Ada', hash: '#red' });
    await page.locator('#websocket[data-on="true"]').waitFor();
    await page.locator('#echo-status[data-state="open"]').waitFor();
    const { port } = server;
    // Looked for from before the end on: the page tries again soon, and then shows how that failed.
    const told = page.locator('#echo-status').getByText('closed (1001)').waitFor();
    assert.deepEqual(await server.stop(), { code: 0, signal: null });
    await told;
    await shown(page, 'Connection lost (transport close)');
    server = await startServer('lobby', { port, ...options });
    await page.locator('#echo-status[data-state="open"]').waitFor();
    await online(page);
    const friend = await clients.connect('/', { rejectUnauthorized: false });
    assert.equal(await call(friend, 'to', 'red', 'chat', { who: 'f', name: 'Friend', room: 'red', text: 'still in red' }), 1);
    await shown(page, 'still in red', '.said');
  });
});
