// Who is let into which namespace (examples/interop/admission.rs), seen by the official client: middlewares that wait and refuse, families
// of namespaces, and those who go while it is being decided.

import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { call, Clients, collect, connected, cores, cut, eventually, next, startServer, within } from './harness.mjs';

let server;
let clients;
/** In the main namespace, to ask and to let others through. */
let main;
let nr = 0;

before(async () => {
  server = await startServer('interop', { args: ['--cores', `${cores}`] });
  clients = new Clients(server);
});
after(() => server?.stop());

const fresh = (name) => { nr += 1; return `${name}-${nr}`; };
const room = () => { nr += 1; return `/room-${nr}`; };

/** Waits until somebody waits at the gate. */
const someoneAt = (gate) => eventually(() => call(main, 'waiting', gate), (count) => count > 0, `somebody waits at ${gate}`);
const release = (gate) => call(main, 'release', gate);

/** The refusal of a socket that tries to connect. */
async function refusal(socket) {
  const refused = new Promise((resolve, reject) => {
    socket.once('connect_error', resolve);
    socket.once('connect', () => reject(new Error('it was let in')));
  });
  const { message, data } = await within(refused, 'a refusal');
  return { message, data };
}

const beforeEach = async () => { main = await clients.connect(); };

describe('middlewares', () => {
  afterEach(() => clients.close());

  test('let in, in order, and keep what they found out', async () => {
    await beforeEach();
    const socket = await clients.connect('/guarded', { auth: { token: 'secret' } });
    assert.deepEqual(await call(socket, 'passed'), ['first', 'second', 'third']);
    assert.deepEqual(await call(socket, 'rooms'), [socket.id, 'newcomers'].sort());
  });

  test('refuse with a message, and data only if there is any', async () => {
    const plain = clients.open('/guarded', { auth: {} });
    assert.deepEqual(await refusal(plain), { message: 'no token', data: undefined });
    const wrong = clients.open('/guarded', { auth: { token: 'guessed' } });
    assert.deepEqual(await refusal(wrong), { message: 'not with this token', data: { code: 401, token: 'guessed' } });
    assert.equal(wrong.connected, false);
  });

  test('a client that was refused may ask again on the same connection', async () => {
    const manager = clients.manager();
    // Without another namespace the client would close the connection.
    await connected(manager.socket('/other'));
    const { engine } = manager;
    const socket = manager.socket('/guarded', { auth: { token: 'guessed' } });
    await refusal(socket);
    socket.auth = {};
    socket.connect();
    assert.equal((await refusal(socket)).message, 'no token');
    socket.auth = { token: 'secret' };
    socket.connect();
    await connected(socket);
    assert.equal(manager.engine, engine);
    assert.deepEqual(await call(socket, 'passed'), ['first', 'second', 'third']);
  });

  test('one namespace refuses, the others of the connection go on', async () => {
    const manager = clients.manager();
    const guarded = manager.socket('/guarded', { auth: {} });
    const [other, chat] = [manager.socket('/other'), manager.socket('/chat')];
    const [refused] = await Promise.all([refusal(guarded), connected(other), connected(chat)]);
    assert.equal(refused.message, 'no token');
    assert.deepEqual(await call(other, 'rooms'), [other.id]);
    assert.deepEqual(await call(chat, 'rooms'), [chat.id]);
  });

  test('may say something before the client is in', async () => {
    await beforeEach();
    const gate = fresh('early');
    const socket = clients.open('/guarded', { auth: { token: 'secret', wait: gate } });
    const packets = [];
    socket.io.on('open', () => {
      socket.io.engine.on('packet', ({ type }) => { if (type === 'message') packets.push(type); });
    });
    const early = next(socket, 'early');
    await someoneAt(gate);
    await eventually(() => packets.length, (count) => count > 0, 'the packet of the event');
    assert.equal(socket.connected, false);
    await release(gate);
    await connected(socket);
    assert.deepEqual(await early, [false, 'before']);
  });

  test('while they decide, what is for their rooms does not reach the client', async () => {
    await beforeEach();
    const gate = fresh('late');
    const inside = await clients.connect('/guarded', { auth: { token: 'secret' } });
    const late = clients.open('/guarded', { auth: { token: 'secret', wait: gate } });
    const heard = collect(late, 'heard');
    await someoneAt(gate);
    const own = collect(inside, 'heard');
    await call(inside, 'emit-op', { from: 'nsp', to: ['newcomers'], event: 'heard', args: [1] });
    await call(inside, 'emit-op', { from: 'nsp', event: 'heard', args: [2] });
    await own.until(2);
    await release(gate);
    await connected(late);
    await call(late, 'rooms');
    await call(inside, 'emit-op', { from: 'nsp', to: ['newcomers'], event: 'heard', args: [3] });
    assert.deepEqual(await heard.until(1), [[3]]);
    await call(inside, 'emit-op', { from: 'nsp', to: [late.id], event: 'heard', args: [4] });
    assert.deepEqual(await heard.until(2), [[3], [4]]);
  });

  test('who was refused has left what a middleware let it join', async () => {
    const inside = await clients.connect('/guarded', { auth: { token: 'secret' } });
    const refused = clients.open('/guarded', { auth: { token: 'guessed' } });
    const heard = collect(refused, 'heard');
    await refusal(refused);
    const own = collect(inside, 'heard');
    await call(inside, 'emit-op', { from: 'nsp', to: ['newcomers'], event: 'heard', args: [1] });
    await own.until(1);
    refused.auth = { token: 'secret' };
    refused.connect();
    await connected(refused);
    await call(refused, 'rooms');
    assert.deepEqual(heard.seen, []);
  });

  for (const way of ['its connection', 'its engine']) {
    test(`whoever goes meanwhile, by the end of ${way}, leaves nobody behind`, async () => {
      await beforeEach();
      const gate = fresh('gone');
      const auth = { token: 'secret', wait: gate };
      const gone = clients.open('/guarded', { auth });
      await someoneAt(gate);
      if (way === 'its engine') gone.io.engine.close();
      else cut(gone);
      await release(gate);
      await eventually(() => call(main, 'waiting', gate), (count) => count === 0, 'nobody waits any more');
      const stays = clients.open('/guarded', { auth });
      await someoneAt(gate);
      await release(gate);
      await connected(stays);
      // If the server heard of the end too late, the one that has gone was in for a moment.
      await eventually(() => call(main, 'tally', gate), ([came, left]) => came - left === 1, 'one is there');
      stays.disconnect();
      await eventually(() => call(main, 'tally', gate), ([came, left]) => came === left, 'nobody is there');
    });
  }

  test('many at once, who wait and are let in and refused by turns', async () => {
    await beforeEach();
    const gate = fresh('many');
    const outcomes = Array.from({ length: 30 }, async (_, i) => {
      const token = ['secret', 'guessed', undefined][i % 3];
      const socket = clients.open('/guarded', { auth: { token, wait: i % 2 ? gate : undefined } });
      if (token !== 'secret') return (await refusal(socket)).message;
      await connected(socket);
      return (await call(socket, 'passed')).length;
    });
    await eventually(() => call(main, 'waiting', gate), (count) => count === 15, 'half of them wait');
    for (let i = 0; i < 15; i += 1) await release(gate);
    const expected = [3, 'not with this token', 'no token'];
    (await Promise.all(outcomes)).forEach((outcome, i) => assert.equal(outcome, expected[i % 3], `client ${i}`));
  });
});

describe('families of namespaces', () => {
  afterEach(() => clients.close());

  test('a pattern takes names, and no others', async () => {
    const name = room();
    const socket = await clients.connect(name);
    assert.deepEqual(await call(socket, 'rooms'), [socket.id]);
    for (const other of ['/room-', '/room-x', `/a${name}`, `${name}/b`]) {
      assert.deepEqual(await refusal(clients.open(other)), { message: 'Invalid namespace', data: undefined }, other);
    }
  });

  test('each of its namespaces is one by itself, and announced once', async () => {
    await beforeEach();
    const [first, second] = [room(), room()];
    const [a, b, c] = await Promise.all([first, first, second].map((name) => clients.connect(name)));
    const [atB, atC] = [collect(b, 'heard'), collect(c, 'heard')];
    await call(a, 'emit-op', { from: 'socket', event: 'heard', args: ['b'] });
    assert.deepEqual(await atB.until(1), [['b']]);
    await call(c, 'rooms');
    assert.deepEqual(atC.seen, []);
    const announced = await call(main, 'announced');
    assert.deepEqual(announced.filter((name) => name === first || name === second).sort(), [first, second].sort());
    const known = await call(main, 'namespaces');
    for (const name of [first, second, '/', '/guarded']) assert.ok(known.includes(name), name);
  });

  test('a function that waits may look at the auth', async () => {
    await beforeEach();
    const [gate, name] = [fresh('team'), `/team-${fresh('x')}`];
    const socket = clients.open(name, { auth: { token: 'secret', wait: gate } });
    await someoneAt(gate);
    assert.ok(!(await call(main, 'namespaces')).includes(name));
    await release(gate);
    await connected(socket);
    assert.deepEqual(await call(socket, 'rooms'), [socket.id]);
    assert.ok((await call(main, 'namespaces')).includes(name));
    // It exists now, and nobody is asked again.
    await clients.connect(name, { auth: {} });
    const refused = clients.open(`/team-${fresh('y')}`, { auth: { token: 'guessed' } });
    assert.equal((await refusal(refused)).message, 'Invalid namespace');
  });

  test('whoever goes while it is asked brings nothing into being, or nothing that is in the way', async () => {
    await beforeEach();
    const [gate, name] = [fresh('gone'), `/team-${fresh('z')}`];
    const gone = clients.open(name, { auth: { token: 'secret', wait: gate } });
    await someoneAt(gate);
    cut(gone);
    await release(gate);
    await eventually(() => call(main, 'waiting', gate), (count) => count === 0, 'nobody waits any more');
    const socket = await clients.connect(name, { auth: { token: 'secret' } });
    assert.deepEqual(await call(socket, 'rooms'), [socket.id]);
  });

  test('what is emitted to the family reaches all of its namespaces', async () => {
    await beforeEach();
    const names = Array.from({ length: 6 }, room);
    const sockets = await Promise.all(names.map((name) => clients.connect(name)));
    const outsider = await clients.connect('/other');
    const heard = sockets.map((socket) => collect(socket, 'heard'));
    const outside = collect(outsider, 'heard');
    const event = ['heard', ['to all', { n: 1 }]];
    await Promise.all(sockets.filter((_, i) => i % 2).map((socket) => call(socket, 'join', 'odd')));
    await call(main, 'tell-rooms', '', ...event);
    await call(main, 'tell-rooms', 'odd', 'heard', ['to some']);
    await call(main, 'tell-rooms', '', 'heard', ['last']);
    const [all, some, last] = [['to all', { n: 1 }], ['to some'], ['last']];
    for (const [i, at] of heard.entries()) {
      const expected = i % 2 ? [all, some, last] : [all, last];
      assert.deepEqual(await at.until(expected.length), expected, names[i]);
    }
    await call(outsider, 'rooms');
    assert.deepEqual(outside.seen, []);
  });
});
