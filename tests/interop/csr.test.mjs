// Connection state recovery: clients whose connection breaks get back their id, their rooms, their data, and all that they missed.

import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { bytes, call, Clients, collect, connected, cut, eventually, isReference, next, startServer, transports, webSocketOf } from './harness.mjs';

const AWAY_MS = 60_000;
const NAMESPACE = '/recovery';
const onlyOurs = isReference && 'Node lets a session be recovered twice (its issue 4880), and counts nothing';

let server;
let clients;
before(async () => { server = await startServer('interop', { args: ['--recovery', `${AWAY_MS}`] }); });
after(() => server.stop());
afterEach(() => clients?.close());

function begin(on = server) {
  clients = new Clients(on);
  return clients;
}

/** A client that comes back when it is told to, with one event behind it, so that it has an offset. */
async function lasting(options = {}) {
  const socket = await clients.connect(NAMESPACE, options);
  const told = collect(socket, 'told');
  await call(socket, 'tell', { room: socket.id, numbers: [0] });
  await told.until(1);
  return { socket, told };
}

const state = (socket) => call(socket, 'state');
const numbers = (told) => told.seen.map(([number]) => number);

/**
 * Breaks the connection. Not in the middle of an upgrade, nor of what is received: the client hands a packet on a tick after it has come, and
 * one whose connection ends in between is kept for the next connection, without a note of its offset. So it is missed, and heard twice.
 */
async function sever(socket) {
  if (transports.includes('websocket')) await webSocketOf(socket);
  await new Promise((resolve) => { setImmediate(resolve); });
  const gone = next(socket, 'disconnect');
  cut(socket);
  await gone;
}

/** The same, and waits until the server knows: `witness` is another client. */
async function lose(socket, witness, room) {
  await sever(socket);
  await eventually(() => call(witness, 'present', room), (count) => count === 0, 'the server misses the client');
}

/** Lets it connect again. */
async function comeBack(socket) {
  socket.connect();
  await connected(socket);
}

test('id, rooms, data and missed events are found again; the events come before the answer', async () => {
  begin();
  const witness = await clients.connect(NAMESPACE);
  const { socket, told } = await lasting();
  const { id } = socket;
  await call(socket, 'join', 'kitchen');
  await call(socket, 'join', 'mine');
  await call(socket, 'data', { name: 'Ada', list: [1, 2] });
  const old = await state(socket);
  assert.deepEqual([old.recovered, old.asked, socket.recovered], [false, true, false]);
  await lose(socket, witness, 'mine');

  await call(witness, 'tell', { numbers: [1] });
  await call(witness, 'tell', { room: 'kitchen', numbers: [2, 3] });
  await call(witness, 'tell', { room: 'elsewhere', numbers: [100] });
  await call(witness, 'tell', { except: 'kitchen', numbers: [101] });
  await call(witness, 'tell', { volatile: true, numbers: [102] });
  await call(witness, 'tell others', { room: id, numbers: [4] });
  witness.emit('relay', 5, bytes(300), 'text');
  await call(witness, 'state');

  const packets = [];
  socket.io.once('open', () => {
    socket.io.engine.on('packet', ({ type, data }) => { if (type === 'message') packets.push(data); });
  });
  await comeBack(socket);
  await told.until(6);
  assert.deepEqual([socket.recovered, socket.id], [true, id]);
  const found = await state(socket);
  assert.deepEqual(found, { ...old, recovered: true, asked: false });
  assert.deepEqual(numbers(told), [0, 1, 2, 3, 4, 5]);
  for (const args of told.seen) assert.equal(typeof args.at(-1), 'string', 'an offset');
  assert.equal(new Set(told.seen.map((args) => args.at(-1))).size, 6);
  assert.deepEqual(Buffer.from(told.seen[5][1]), bytes(300));
  assert.deepEqual([told.seen[5][2], told.seen[5].length], ['text', 4]);
  if (typeof packets[0] === 'string') {
    const answer = packets.findIndex((packet) => typeof packet === 'string' && packet.startsWith(`0${NAMESPACE},`));
    const events = packets.slice(0, answer).filter((packet) => typeof packet === 'string');
    assert.equal(events.length, 5, `${packets}`);
  }

  await call(witness, 'tell', { room: 'kitchen', numbers: [6] });
  await call(witness, 'tell', { room: id, numbers: [7] });
  await told.until(8);
  assert.deepEqual(numbers(told), [0, 1, 2, 3, 4, 5, 6, 7], 'it goes on');
});

test('again and again, on whatever core', async () => {
  begin();
  const witness = await clients.connect(NAMESPACE);
  const { socket, told } = await lasting();
  const { id } = socket;
  await call(socket, 'join', 'often');
  let number = 0;
  for (let round = 0; round < 8; round += 1) {
    await lose(socket, witness, 'often');
    for (let i = 0; i < 3; i += 1) await call(witness, 'tell', { room: 'often', numbers: [number += 1] });
    await comeBack(socket);
    const why = isReference || socket.recovered || (await call(witness, 'counters')).why;
    assert.deepEqual([socket.recovered, socket.id], [true, id], `round ${round}: ${why}`);
    await call(witness, 'tell', { room: 'often', numbers: [number += 1] });
    if (round % 2 === 0) await told.until(number + 1);
  }
  await told.until(number + 1);
  assert.deepEqual(numbers(told), Array.from({ length: number + 1 }, (_, i) => i));
});

test('many at once, while others speak', async () => {
  begin();
  const witness = await clients.connect(NAMESPACE);
  const lasted = await Promise.all(Array.from({ length: 20 }, () => lasting({ reconnection: true, reconnectionDelay: 50, reconnectionDelayMax: 100 })));
  await Promise.all(lasted.map(({ socket }) => call(socket, 'join', 'crowd')));
  let number = 0;
  for (let round = 0; round < 5; round += 1) {
    const back = lasted.map(({ socket }) => next(socket, 'connect'));
    for (const { socket } of lasted) {
      await sever(socket);
      await call(witness, 'tell', { room: 'crowd', numbers: [number += 1] });
    }
    await Promise.all(back);
  }
  for (const { socket, told } of lasted) {
    if (!socket.recovered) continue; // before the server had missed it: then it is told so
    await told.until(number + 1);
    assert.deepEqual(numbers(told), Array.from({ length: number + 1 }, (_, i) => i));
  }
  assert.ok(lasted.some(({ socket }) => socket.recovered));
});

test('a session is recovered once', { skip: onlyOurs }, async () => {
  begin();
  const witness = await clients.connect(NAMESPACE);
  const { socket, told } = await lasting();
  await call(socket, 'join', 'once');
  const auth = { pid: socket._pid, offset: told.seen[0].at(-1) };
  await lose(socket, witness, 'once');
  const before = await call(witness, 'counters');
  await comeBack(socket);
  assert.equal(socket.recovered, true);
  const thief = await clients.connect(NAMESPACE, { auth });
  const stolen = await state(thief);
  assert.equal(stolen.recovered, false);
  assert.notEqual(thief.id, socket.id);
  const counted = await call(witness, 'counters');
  assert.deepEqual([counted.recovered, counted.refused], [before.recovered + 1, before.refused + 1]);
});

test('pids and offsets of any kind lead to a new session', async () => {
  begin();
  const witness = await clients.connect(NAMESPACE);
  const { socket, told } = await lasting();
  await call(socket, 'join', 'other');
  const [pid, offset] = [socket._pid, told.seen[0].at(-1)];
  await lose(socket, witness, 'other');
  const strange = [null, 1, true, [], {}, [pid], { pid }, '', 'x', 'ä'.repeat(10), 'A'.repeat(20), 'x'.repeat(50_000), '\u0000'];
  for (const value of strange) {
    const other = await clients.connect(NAMESPACE, { auth: { pid: value, offset } });
    assert.equal((await state(other)).recovered, false, `pid ${JSON.stringify(value).slice(0, 40)}`);
  }
  for (const value of strange.filter((one) => typeof one !== 'string')) {
    const other = await clients.connect(NAMESPACE, { auth: { pid, offset: value } });
    assert.equal((await state(other)).recovered, false, `offset ${JSON.stringify(value)}`);
  }
  const elsewhere = await clients.connect('/', { auth: { pid, offset } });
  assert.notEqual(elsewhere.id, socket.id, 'another namespace');
  await comeBack(socket);
  assert.equal(socket.recovered, true, 'none of that took it away');
});

test('an offset that is not known leads to a new session', async () => {
  begin();
  const witness = await clients.connect(NAMESPACE);
  const { socket } = await lasting();
  await call(socket, 'join', 'unknown');
  const { id } = socket;
  await lose(socket, witness, 'unknown');
  socket._lastOffset = 'nothing of the kind';
  await comeBack(socket);
  assert.equal(socket.recovered, false);
  assert.notEqual(socket.id, id);
  assert.deepEqual((await state(socket)).rooms, [socket.id]);
});

test('who leaves the namespace, or is put out of it, has nothing to recover', async () => {
  begin();
  for (const leave of [(socket) => socket.disconnect(), (socket) => socket.emit('leave me')]) {
    const witness = await clients.connect(NAMESPACE);
    const { socket } = await lasting();
    await call(socket, 'join', 'leaver');
    const { id } = socket;
    const gone = next(socket, 'disconnect');
    leave(socket);
    await gone;
    await eventually(() => call(witness, 'present', 'leaver'), (count) => count === 0, 'it has left');
    await comeBack(socket);
    assert.equal(socket.recovered, false);
    assert.notEqual(socket.id, id);
  }
});

test('what asks for an acknowledgement, and what is volatile, has no offset', async () => {
  begin();
  const { socket, told } = await lasting();
  await call(socket, 'tell', { room: socket.id, volatile: true, numbers: [1] });
  await told.until(2);
  assert.deepEqual(told.seen[1], [1]);
  assert.deepEqual([told.seen[0].length, await call(socket, 'join', 'x')], [2, true]);
});

test('a client that was away for too long begins anew', async () => {
  const short = await startServer('interop', { args: ['--recovery', '300'] });
  try {
    begin(short);
    const witness = await clients.connect(NAMESPACE);
    const { socket } = await lasting();
    await call(socket, 'join', 'late');
    const { id } = socket;
    await lose(socket, witness, 'late');
    await new Promise((resolve) => { setTimeout(resolve, 1500); });
    await comeBack(socket);
    assert.equal(socket.recovered, false);
    assert.notEqual(socket.id, id);
  } finally {
    clients.close();
    await short.stop();
  }
});
