// The contract's `emit-op` and `room-op`: whom a message reaches, acknowledgements of many, and what a server does to its sockets.

import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { startContract } from './contract.mjs';
import { bytes, call, collect, eventually, next } from './harness.mjs';

let contract;

before(async () => { contract = await startContract(); });
afterEach(() => contract.closeClients());
after(() => contract?.stop());

/** What every socket was told before now has arrived: what one core posted to another comes before the answer to this. */
const settled = (sockets) => Promise.all(sockets.map((socket) => call(socket, 'rooms')));

let round = 0;

/** Five sockets in a namespace of their own: a in r1; b in r1, r2; c in r2, r3; d in r3; e in none. */
async function five() {
  round += 1;
  const namespace = `/dyn-${round}`;
  const sockets = await contract.clients('main').connectMany(5, namespace);
  const rooms = [['r1'], ['r1', 'r2'], ['r2', 'r3'], ['r3'], []];
  await Promise.all(sockets.map((socket, i) => call(socket, 'join', rooms[i])));
  return sockets;
}

const NAMES = 'abcde';
const OK = { ok: true, error: null, responses: [] };

/** Who receives what `a` asks for. */
async function receivers(sockets, spec) {
  const arrivals = sockets.map((socket) => collect(socket, 'told'));
  assert.deepEqual(await call(sockets[0], 'emit-op', { event: 'told', args: [1, bytes(3)], ...spec }), OK);
  await settled(sockets);
  arrivals.forEach(({ seen }) => seen.forEach((args) => assert.deepEqual(args, [1, bytes(3)])));
  return arrivals.map(({ seen }, i) => NAMES[i].repeat(seen.length)).join('');
}

describe('emit-op: whom it reaches', () => {
  const CASES = [
    [{ from: 'nsp' }, 'abcde'],
    [{ from: 'socket' }, 'bcde'],
    [{ from: 'self' }, 'a'],
    [{ from: 'nsp', to: ['r1'] }, 'ab'],
    [{ from: 'nsp', to: ['r1', 'r2'] }, 'abc'],
    [{ from: 'nsp', to: ['r1', 'r2', 'r3'] }, 'abcd'],
    [{ from: 'nsp', to: ['nobody'] }, ''],
    [{ from: 'nsp', except: ['r2'] }, 'ade'],
    [{ from: 'nsp', to: ['r1', 'r3'], except: ['r2'] }, 'ad'],
    [{ from: 'nsp', to: ['r1'], except: ['nobody'] }, 'ab'],
    [{ from: 'nsp', except: ['r1', 'r2', 'r3'] }, 'e'],
    [{ from: 'socket', to: ['r1'] }, 'b'],
    [{ from: 'socket', to: ['r1', 'r2'] }, 'bc'],
    [{ from: 'socket', except: ['r3'] }, 'be'],
    [{ from: 'nsp', local: true }, 'abcde'],
    [{ from: 'socket', to: ['r2'], local: true }, 'bc'],
    [{ from: 'nsp', compress: false }, 'abcde'],
    [{ from: 'nsp', to: ['r3'], compress: true }, 'cd'],
    [{ from: 'self', compress: false }, 'a'],
  ];
  for (const [spec, expected] of CASES) {
    test(`${JSON.stringify(spec)} → ${expected || 'nobody'}`, async () => {
      assert.equal(await receivers(await five(), spec), expected);
    });
  }

  test('a socket by its id', async () => {
    const sockets = await five();
    assert.equal(await receivers(sockets, { from: 'nsp', to: [sockets[3].id, sockets[4].id] }), 'de');
    assert.equal(await receivers(sockets, { from: 'nsp', except: [sockets[3].id] }), 'abce');
  });

  test('volatile: to who can be told now', async () => {
    const sockets = await five();
    const arrivals = sockets.map((socket) => collect(socket, 'v'));
    for (let i = 0; i < 20; i += 1) {
      for (const from of ['nsp', 'self']) assert.deepEqual(await call(sockets[0], 'emit-op', { from, volatile: true, event: 'v', args: [i] }), OK);
    }
    await eventually(() => arrivals.every(({ seen }) => seen.length > 0), (all) => all, 'some of them arrive');
    assert.ok(arrivals.every(({ seen }) => seen.every(([i], at) => at === 0 || i >= seen[at - 1][0])), 'in order');
  });

  test('another namespace hears nothing', async () => {
    const [a] = await five();
    const stranger = await contract.connect('main', '/chat');
    const heard = collect(stranger, 'told');
    await call(a, 'emit-op', { from: 'nsp', event: 'told' });
    await call(stranger, 'rooms');
    assert.equal(heard.seen.length, 0);
  });
});

describe('emit-op with ack', () => {
  const answering = (sockets, answer) => sockets.forEach((socket, i) => {
    socket.on('q', (...args) => args.pop()(...answer(i, args)));
  });

  test('the first argument of each answer', async () => {
    const sockets = await five();
    answering(sockets, (i, args) => [`${NAMES[i]}${args[0]}`, 'second']);
    const { ok, error, responses } = await call(sockets[0], 'emit-op', { from: 'nsp', event: 'q', args: [7], ack: true, timeout: 5000 });
    assert.deepEqual([ok, error, responses.sort()], [true, null, ['a7', 'b7', 'c7', 'd7', 'e7']]);
  });

  test('of some', async () => {
    const sockets = await five();
    answering(sockets, (i) => [{ from: NAMES[i], data: bytes(i) }]);
    const { ok, responses } = await call(sockets[0], 'emit-op', { from: 'socket', to: ['r1', 'r3'], event: 'q', ack: true, timeout: 5000 });
    assert.equal(ok, true);
    responses.sort((x, y) => (x.from < y.from ? -1 : 1));
    assert.deepEqual(responses, [1, 2, 3].map((i) => ({ from: NAMES[i], data: bytes(i) })));
  });

  test('on a timeout, those that came', async () => {
    const sockets = await five();
    answering(sockets.slice(0, 3), (i) => [NAMES[i]]);
    const { ok, error, responses } = await call(sockets[0], 'emit-op', { from: 'nsp', event: 'q', ack: true, timeout: 400 });
    assert.deepEqual([ok, error, responses.sort()], [false, 'operation has timed out', ['a', 'b', 'c']]);
  });

  test('of nobody: at once', async () => {
    const [a] = await five();
    assert.deepEqual(await call(a, 'emit-op', { from: 'nsp', to: ['nobody'], event: 'q', ack: true, timeout: 15_000 }), OK);
  });

  test('who leaves meanwhile is waited for', async () => {
    const sockets = await five();
    answering(sockets.slice(0, 4), (i) => [NAMES[i]]);
    sockets[4].on('q', () => sockets[4].disconnect());
    const { ok, responses } = await call(sockets[0], 'emit-op', { from: 'nsp', event: 'q', ack: true, timeout: 500 });
    assert.deepEqual([ok, responses.sort()], [false, ['a', 'b', 'c', 'd']]);
  });

  test('several at once do not mix', async () => {
    const sockets = await five();
    answering(sockets, (i, args) => [args[0]]);
    const all = await Promise.all(Array.from({ length: 20 }, (_, n) => (
      call(sockets[n % 5], 'emit-op', { from: 'nsp', event: 'q', args: [n], ack: true, timeout: 10_000 })
    )));
    all.forEach(({ responses }, n) => assert.deepEqual(responses, [n, n, n, n, n]));
  });

  test('self: one question', async () => {
    const sockets = await five();
    answering(sockets, (i) => [NAMES[i], 'second']);
    const ask = (more) => call(sockets[0], 'emit-op', { from: 'self', event: 'q', ack: true, ...more });
    assert.deepEqual(await ask({ timeout: 5000 }), { ok: true, error: null, responses: ['a'] });
    assert.deepEqual(await ask({}), { ok: true, error: null, responses: ['a'] });
    assert.deepEqual(await ask({ event: 'unheard', timeout: 100 }), { ok: false, error: 'operation has timed out', responses: [] });
  });
});

describe('room-op', () => {
  const fetch = async (socket, spec) => call(socket, 'room-op', { op: 'fetch', ...spec });
  const namesOf = (sockets, found) => found.map(({ id }) => NAMES[sockets.findIndex((socket) => socket.id === id)]).sort().join('');

  test('fetch: id, rooms, data, auth', async () => {
    round += 1;
    const namespace = `/dyn-${round}`;
    const a = await contract.connect('main', namespace, { auth: { user: 'ann' } });
    const b = await contract.connect('main', namespace);
    await call(a, 'join', ['z', 'y']);
    await call(b, 'set-data', { level: 3 });
    const expected = [
      { id: a.id, rooms: [a.id, 'y', 'z'].sort(), data: {}, auth: { user: 'ann' } },
      { id: b.id, rooms: [b.id], data: { level: 3 }, auth: {} },
    ].sort((x, y) => (x.id < y.id ? -1 : 1));
    assert.deepEqual(await fetch(a), expected);
    assert.deepEqual(await fetch(b, { local: true }), expected);
  });

  test('fetch: in and except', async () => {
    const sockets = await five();
    const who = async (spec) => namesOf(sockets, await fetch(sockets[2], spec));
    assert.equal(await who({}), 'abcde');
    assert.equal(await who({ in: ['r1'] }), 'ab');
    assert.equal(await who({ in: ['r1', 'r3'] }), 'abcd');
    assert.equal(await who({ in: ['r1', 'r3'], except: ['r2'] }), 'ad');
    assert.equal(await who({ except: ['r1'] }), 'cde');
    assert.equal(await who({ in: [sockets[4].id] }), 'e');
    assert.equal(await who({ in: ['nobody'] }), '');
  });

  test('join: those of a room, then they are reached', async () => {
    const sockets = await five();
    assert.deepEqual(await call(sockets[4], 'room-op', { op: 'join', in: ['r1'], except: ['r2'], rooms: ['new', 'newer'] }), []);
    assert.equal(await receivers(sockets, { from: 'nsp', to: ['new'] }), 'a');
    assert.deepEqual(await call(sockets[0], 'rooms'), ['new', 'newer', 'r1', sockets[0].id].sort());
    assert.deepEqual(await call(sockets[4], 'room-op', { op: 'join', rooms: ['all'] }), []);
    assert.equal(await receivers(sockets, { from: 'nsp', to: ['all'] }), 'abcde');
  });

  test('leave', async () => {
    const sockets = await five();
    assert.deepEqual(await call(sockets[4], 'room-op', { op: 'leave', in: ['r2'], rooms: ['r1', 'r3'] }), []);
    await eventually(() => fetch(sockets[0], { in: ['r1', 'r3'] }).then((found) => namesOf(sockets, found)), (names) => names === 'ad', 'only a and d');
    assert.deepEqual(await call(sockets[1], 'rooms'), ['r2', sockets[1].id].sort());
  });

  for (const close of [false, true]) {
    test(`disconnect, close ${close}`, async () => {
      round += 1;
      const manager = contract.clients('main').manager();
      const inside = manager.socket(`/dyn-${round}`);
      const beside = manager.socket('/chat');
      await Promise.all([next(inside, 'connect'), next(beside, 'connect')]);
      const witness = await contract.connect('main', `/dyn-${round}`);
      await call(inside, 'join', 'out');
      const gone = next(inside, 'disconnect');
      const along = close ? next(beside, 'disconnect') : Promise.resolve(['stays']);
      assert.deepEqual(await call(witness, 'room-op', { op: 'disconnect', in: ['out'], close }), []);
      assert.equal((await gone)[0], 'io server disconnect');
      assert.equal((await along)[0], close ? 'io server disconnect' : 'stays');
      if (!close) assert.equal((await call(beside, 'info')).connected, true);
      assert.equal((await call(witness, 'info')).connected, true);
    });
  }
});
