// Socket.IO and an axum application on one port, whichever of the two listens: pages beside sessions, in the client's default mode.

import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { call, Clients, collect, connected, eventually, isReference, next, startServer, within } from './harness.mjs';

for (const name of ['with_axum', 'inside_axum']) {
  describe(name, { skip: isReference && 'axum is no Node application' }, () => {
    let server;
    let clients;
    before(async () => {
      server = await startServer(name, { args: ['--cores', '2'] });
      clients = new Clients(server);
    });
    afterEach(() => clients.close());
    after(() => server?.stop());

    const open = (options = { transports: ['polling', 'websocket'] }) => connected(clients.open('/', options));
    const transport = (socket) => socket.io.engine.transport.name;
    const upgraded = (socket) => eventually(() => transport(socket), (now) => now === 'websocket', 'upgraded');

    test('pages are the application\'s, the script is ours', async () => {
      const page = await fetch(`${server.url}/`);
      assert.match(await page.text(), /<title>Ringhall/);
      const script = await fetch(`${server.url}/socket.io/socket.io.js`);
      assert.equal(script.status, 200);
      assert.match(script.headers.get('content-type'), /javascript/);
      assert.equal((await fetch(`${server.url}/nowhere`)).status, 404);
      const unknown = await fetch(`${server.url}/socket.io/?EIO=4&transport=polling&sid=nobody`);
      assert.deepEqual(await unknown.json(), { code: 1, message: 'Session ID unknown' });
    });

    test('clients on every transport hear each other, and the application', async () => {
      const both = await open();
      const polling = await open({ transports: ['polling'] });
      const websocket = await open({ transports: ['websocket'] });
      await upgraded(both);
      const all = [both, polling, websocket];
      for (const speaker of all) {
        const heard = all.filter((socket) => socket !== speaker).map((socket) => next(socket, 'said'));
        assert.equal(await call(speaker, 'say', 'hi'), 'hi');
        assert.deepEqual(await Promise.all(heard), [['hi'], ['hi']]);
      }
      const heard = all.map((socket) => next(socket, 'said'));
      const answer = await fetch(`${server.url}/say`, { method: 'POST', body: 'from the application' });
      assert.equal(await answer.text(), 'said\n');
      for (const [text] of await Promise.all(heard)) assert.equal(text, 'from the application');
      assert.deepEqual(all.map(transport), ['websocket', 'polling', 'websocket']);
    });

    test('50 clients × 200 messages on two cores, begun on polling: none lost, doubled or out of order', async () => {
      const listener = await open({ transports: ['websocket'] });
      const said = collect(listener, 'said');
      const sockets = await Promise.all(Array.from({ length: 50 }, () => open()));
      const wanted = Array.from({ length: 200 }, (_, number) => number);
      await within(Promise.all(sockets.map(async (socket, nr) => {
        const answers = [];
        for (const number of wanted) answers.push(call(socket, 'say', `${nr} ${number}`));
        assert.deepEqual(await Promise.all(answers), wanted.map((number) => `${nr} ${number}`));
      })), 'all answers', 90_000);
      await said.until(50 * 200);
      const bySpeaker = sockets.map(() => []);
      for (const [text] of said.seen) {
        const [nr, number] = text.split(' ').map(Number);
        bySpeaker[nr].push(number);
      }
      for (const heard of bySpeaker) assert.deepEqual(heard, wanted);
      await Promise.all(sockets.map(upgraded));
    });
  });
}
