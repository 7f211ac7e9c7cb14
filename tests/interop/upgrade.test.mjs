// Upgrades under load: clients that start on polling talk while they go over to a WebSocket, and nothing is lost, doubled or out of order,
// in either direction, whichever core a request lands on.
//
//   RINGHALL_ROUNDS   how often (default: 2)

import assert from 'node:assert/strict';
import http from 'node:http';
import net from 'node:net';
import { after, before, test } from 'node:test';
import { NodeWebSocket, NodeXHR } from 'engine.io-client';
import { WebSocket } from 'ws';
import { Clients, call, connected, eventually, isOwn, startServer, within } from './harness.mjs';

const ROUNDS = Number(process.env.RINGHALL_ROUNDS ?? 2);
const CLIENTS = 200;
const MESSAGES = 500;
const TALK_MS = 2000;
const STEPS = 50;

let server;
before(async () => { server = await startServer('interop', { args: ['--cores', '2'] }); });
after(() => server?.stop());

/** A WebSocket that comes late, at a random moment of the talk: clients upgrade at once otherwise, before there is much to lose. */
class Late extends NodeWebSocket {
  doOpen() {
    setTimeout(() => super.doOpen(), Math.random() * TALK_MS);
  }
}

/** The same for our own script, which takes no transports but by name. */
const agent = new http.Agent();
agent.createConnection = (options, done) => {
  setTimeout(() => {
    const stream = net.connect(options);
    stream.once('connect', () => done(null, stream)).once('error', done);
  }, Math.random() * TALK_MS);
};
if (isOwn) globalThis.WebSocket = class extends WebSocket {
  constructor(url, protocols, options) {
    super(url, protocols, { ...options, agent });
  }
};

/** Sends and hears `MESSAGES` numbered messages; what came is in `heard`, and how many on which transport in `carried`. */
function talk(socket) {
  const heard = [];
  const carried = { polling: 0, websocket: 0 };
  const done = new Promise((resolve, reject) => {
    socket.on('echo', (number) => {
      heard.push(number);
      carried[socket.io.engine.transport.name] += 1;
      if (heard.length >= MESSAGES) resolve();
    });
    socket.once('disconnect', (reason) => reject(new Error(`disconnected: ${reason} after ${heard.length}`)));
  });
  let next = 0;
  const step = () => {
    // Some at once, so that payloads of several packets go over.
    for (let i = 0; i < MESSAGES / STEPS; i += 1) {
      socket.emit('echo', next);
      next += 1;
    }
    if (next < MESSAGES) setTimeout(step, TALK_MS / STEPS);
  };
  step();
  return { heard, carried, done };
}

for (let round = 1; round <= ROUNDS; round += 1) {
  test(`${CLIENTS} clients × ${MESSAGES} messages each way across an upgrade, round ${round}`, async () => {
    const clients = new Clients(server);
    try {
      const talks = await Promise.all(Array.from({ length: CLIENTS }, async () => {
        const socket = clients.open('/', { transports: isOwn ? ['polling', 'websocket'] : [NodeXHR, Late] });
        await connected(socket);
        return [socket, talk(socket)];
      }));
      await within(Promise.all(talks.map(([, { done }]) => done)), 'all echoes', 60_000);
      const sum = { polling: 0, websocket: 0 };
      const wanted = Array.from({ length: MESSAGES }, (_, number) => number);
      for (const [socket, { heard, carried }] of talks) {
        assert.deepEqual(heard, wanted);
        sum.polling += carried.polling;
        sum.websocket += carried.websocket;
        // Nothing follows: what was doubled would come before the answer to this.
        await call(socket, 'rooms');
        await eventually(() => socket.io.engine.transport.name, (name) => name === 'websocket', 'upgraded');
        assert.equal(heard.length, MESSAGES);
      }
      const enough = CLIENTS * MESSAGES / 50;
      assert.ok(sum.polling >= enough && sum.websocket >= enough, `carried by ${JSON.stringify(sum)}`);
    } finally {
      clients.close();
    }
  });
}

// Byte by byte, so that nothing depends on luck: the server ends the client between `3probe` and `5`.
test('a client that the server ends in the middle of an upgrade hears why over the WebSocket', async () => {
  const address = `${server.url}/socket.io/?EIO=4`;
  const poll = async () => (await fetch(`${address}&transport=polling&sid=${sid}`)).text();
  const push = async (body) => assert.equal(await (await fetch(`${address}&transport=polling&sid=${sid}`, { method: 'POST', body })).text(), 'ok');
  const { sid } = JSON.parse((await (await fetch(`${address}&transport=polling`)).text()).slice(1));
  await push('40');
  assert.match(await poll(), /^40/);
  const probe = new WebSocket(`${server.ws('/socket.io/')}?EIO=4&transport=websocket&sid=${sid}`);
  const heard = [];
  const ended = within(new Promise((resolve) => { probe.on('close', resolve); }), 'the end');
  await within(new Promise((resolve) => { probe.on('open', resolve); }), 'the WebSocket');
  const answered = new Promise((resolve) => { probe.on('message', (data) => { heard.push(String(data)); resolve(); }); });
  probe.send('2probe');
  await within(answered, 'the answer to the probe');
  await push('42["disconnect-me",true]');
  probe.send('5');
  await ended;
  assert.deepEqual(heard, ['3probe', '41']);
});
