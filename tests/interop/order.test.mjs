// Order: what one client sends is handled in the order in which it was sent, also by handlers that wait, and what one sender says reaches
// each receiver in that order, whatever cores they are on.

import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { call, Clients, collect, cores, isReference, startServer, within } from './harness.mjs';

const CLIENTS = 20;
const EVENTS = 1000;

let server;
let clients;

before(async () => {
  server = await startServer('interop', { args: ['--cores', `${cores}`] });
  clients = new Clients(server);
});
afterEach(() => clients.close());
after(() => server?.stop());

const upTo = (count) => Array.from({ length: count }, (_, i) => i);

/** Emits all at once; the answers in the order of their coming. */
function pipelined(socket, event, count) {
  const answers = [];
  const all = new Promise((resolve) => {
    for (let i = 0; i < count; i += 1) {
      socket.emit(event, i, (answer) => { if (answers.push(answer) === count) resolve(answers); });
    }
  });
  return within(all, `${count} answers`, 100_000);
}

// In Node handlers that wait run side by side.
const sideBySide = isReference && 'Node does not promise it';

test(`${CLIENTS} clients, ${EVENTS} events each at once, a handler that yields at random: answers in order`, { skip: sideBySide }, async () => {
  const sockets = await clients.connectMany(CLIENTS);
  const told = sockets.map((socket) => collect(socket, 'wandered'));
  const answers = await Promise.all(sockets.map((socket) => pipelined(socket, 'wander', EVENTS)));
  for (const [client, got] of answers.entries()) {
    assert.deepEqual(got, upTo(EVENTS), `client ${client}`);
    // What the handler emits comes before its answer.
    assert.deepEqual(told[client].seen.map(([i]) => i), upTo(EVENTS), `client ${client}`);
  }
});

test('events of several namespaces on one connection do not wait for each other', { skip: sideBySide }, async () => {
  const manager = clients.manager();
  const [slow, fast] = ['/chat', '/other'].map((name) => manager.socket(name));
  await Promise.all([call(slow, 'rooms'), call(fast, 'rooms')]);
  let isOver = false;
  const wandering = pipelined(slow, 'wander', EVENTS).then(() => { isOver = true; });
  await call(fast, 'rooms');
  assert.equal(isOver, false);
  await wandering;
});

test(`broadcasts of ${CLIENTS} senders on ${cores} cores, among events that wait: each sender's order at each receiver`, async () => {
  const each = 200;
  const sockets = await clients.connectMany(CLIENTS, '/chat');
  await Promise.all(sockets.map((socket) => call(socket, 'join', 'hall')));
  const wrong = [];
  const ends = sockets.map((socket, receiver) => {
    const next = new Map(sockets.map(({ id }) => [id, 0]));
    let open = sockets.length - 1;
    return new Promise((resolve) => {
      socket.on('n', (sender, n) => {
        if (n !== next.get(sender)) wrong.push(`${n} of ${sender} at ${receiver}, instead of ${next.get(sender)}`);
        next.set(sender, n + 1);
        if (n + 1 !== each) return;
        open -= 1;
        if (open === 0) resolve();
      });
    });
  });
  for (let n = 0; n < each; n += 1) {
    for (const socket of sockets) {
      if (n % 10 === 0) socket.emit('wander', n);
      socket.emit('emit-op', { from: 'socket', to: ['hall'], event: 'n', args: [socket.id, n] });
    }
  }
  await within(Promise.all(ends), 'the last message of each sender at each receiver', 100_000);
  assert.deepEqual(wrong, []);
});
