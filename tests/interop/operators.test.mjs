// What a server does with many sockets at once: questions to them, operations on them wherever they live, and what it knows of rooms.

import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { bytes, call, Clients, collect, cores, eventually, next, startServer } from './harness.mjs';

let server;
let clients;

before(async () => {
  server = await startServer('interop', { args: ['--cores', `${cores}`] });
  clients = new Clients(server);
});
afterEach(() => clients.close());
after(() => server?.stop());

// Each test has rooms of its own: those of the one before may still be there.
let nr = 0;
const room = (name) => `${nr}-${name}`;

/** Eight sockets, spread over the cores: the first four in room "a", two of them and two others in room "b". All are in "all". */
async function eight(namespace = '/chat') {
  nr += 1;
  const all = await clients.connectMany(8, namespace);
  const join = (some, name) => Promise.all(some.map((socket) => call(socket, 'join', room(name))));
  await Promise.all([join(all, 'all'), join(all.slice(0, 4), 'a'), join(all.slice(2, 6), 'b')]);
  return all;
}

const idsOf = (sockets) => sockets.map(({ id }) => id).sort();

/** What every socket was told before now has arrived: what one core posted to another comes before the answer to this. */
const settled = (sockets) => Promise.all(sockets.map((socket) => call(socket, 'rooms')));

describe('questions to many', () => {
  const answering = (sockets, answer) => sockets.forEach((socket, i) => {
    socket.on('q', (...args) => args.pop()(...answer(i, args)));
  });
  const ask = (socket, spec) => call(socket, 'ask-all', { event: 'q', ...spec });

  test('the first argument of each answer, of exactly those who are meant', async () => {
    const all = await eight();
    answering(all, (i, [x]) => [`${i}${x}`, 'second']);
    const to = (...names) => names.map(room);
    for (const [spec, expected] of [
      [{ to: to('all') }, [0, 1, 2, 3, 4, 5, 6, 7]],
      [{ to: to('all'), others: true }, [1, 2, 3, 4, 5, 6, 7]],
      [{ to: to('a', 'b') }, [0, 1, 2, 3, 4, 5]],
      [{ to: to('a'), except: to('b') }, [0, 1]],
      [{ to: to('b'), local: true, others: true }, [2, 3, 4, 5]],
      [{ to: [all[7].id, all[3].id] }, [3, 7]],
    ]) {
      const { error, responses } = await ask(all[0], { ...spec, args: ['!'] });
      assert.equal(error, null);
      assert.deepEqual(responses.sort(), expected.map((i) => `${i}!`));
    }
  });

  test('nobody is asked: the answer is empty, and at once', async () => {
    const [socket] = await eight();
    const none = { error: null, responses: [] };
    assert.deepEqual(await ask(socket, { to: [room('nobody')], timeout: 15_000 }), none);
    assert.deepEqual(await ask(socket, { to: [socket.id], others: true, timeout: 15_000 }), none);
  });

  test('binary questions and answers', async () => {
    const all = await eight();
    // The parsers take at most ten attachments, and there are eight answers.
    answering(all, (i, [blob]) => [{ i, came: blob.equals(bytes(5000)), blob: bytes(100 * i, i) }]);
    const { error, responses } = await ask(all[0], { to: [room('all')], args: [bytes(5000)] });
    assert.equal(error, null);
    responses.sort((a, b) => a.i - b.i);
    assert.deepEqual(responses, all.map((_, i) => ({ i, came: true, blob: bytes(100 * i, i) })));
  });

  test('when the time is up, those who answered have answered', async () => {
    const all = await eight();
    answering(all.slice(0, 3), (i) => [i]);
    all[3].on('q', () => all[3].disconnect());
    const { error, responses } = await ask(all[4], { to: [room('all')], timeout: 500 });
    assert.equal(error, 'operation has timed out');
    assert.deepEqual(responses.sort(), [0, 1, 2]);
  });

  test('many at once, in two namespaces, do not mix', async () => {
    const chat = await eight();
    const other = await eight('/other');
    const rounds = Array.from({ length: 40 }, (_, n) => n);
    for (const sockets of [chat, other]) answering(sockets, (i, [x]) => [x]);
    const answers = await Promise.all(rounds.map((n) => {
      const sockets = n % 2 ? chat : other;
      return ask(sockets[n % 8], { to: [`${nr - (n % 2)}-all`], args: [n] });
    }));
    answers.forEach(({ error, responses }, n) => {
      assert.equal(error, null);
      assert.deepEqual(responses, Array(8).fill(n));
    });
  });

  test('a socket that was fetched is asked', async () => {
    const [asker, other, silent] = await eight();
    other.on('q', (x, done) => done(x + 1, 'second'));
    const remote = (socket, ms) => call(asker, 'ask-remote', socket.id, 'q', [41], ms);
    assert.deepEqual(await remote(other, 10_000), { error: null, responses: [42] });
    assert.deepEqual(await remote(silent, 100), { error: 'operation has timed out', responses: [] });
  });
});

describe('operations', () => {
  const operate = (socket, op, spec) => call(socket, 'room-op', { op, ...spec });

  test('fetch: id, rooms, data, auth', async () => {
    nr += 1;
    const a = await clients.connect('/chat', { auth: { user: 'ann' } });
    const b = await clients.connect('/chat');
    await Promise.all([a, b].map((socket) => call(socket, 'join', room('x'))));
    await call(b, 'set-data', { level: 3 });
    const expected = [
      { id: a.id, rooms: [a.id, room('x')].sort(), data: {}, auth: { user: 'ann' } },
      { id: b.id, rooms: [b.id, room('x')].sort(), data: { level: 3 }, auth: {} },
    ].sort((one, other) => (one.id < other.id ? -1 : 1));
    assert.deepEqual(await operate(a, 'fetch', { to: [room('x')] }), expected);
    assert.deepEqual(await operate(b, 'fetch', { to: [room('x')], others: true }), expected.filter(({ id }) => id === a.id));
  });

  test('join, then they are reached; leave, then they are not', async () => {
    const all = await eight();
    const found = async (...rooms) => (await operate(all[7], 'fetch', { to: rooms })).map(({ id }) => id);
    await operate(all[7], 'join', { to: [room('a')], except: [room('b')], rooms: [room('new'), room('newer')] });
    assert.deepEqual(await found(room('new')), idsOf(all.slice(0, 2)));
    assert.deepEqual(await found(room('newer')), idsOf(all.slice(0, 2)));
    await operate(all[7], 'join', { to: [room('all')], others: true, rooms: [room('new')] });
    assert.deepEqual(await found(room('new')), idsOf(all.slice(0, 7)));
    await operate(all[0], 'leave', { to: [room('b')], rooms: [room('new'), room('a')] });
    const rest = await eventually(() => found(room('new'), room('a')), (ids) => ids.length === 3, 'four have left');
    assert.deepEqual(rest, idsOf([all[0], all[1], all[6]]));
  });

  for (const fromThread of [false, true]) {
    test(`who is made to join is told at once what the room is told ${fromThread ? '(from a thread)' : ''}`, async () => {
      const all = await eight();
      const heard = all.map((socket) => collect(socket, 'told'));
      const rounds = 100;
      const expected = all.map(() => 0);
      for (let n = 0; n < rounds; n += 1) {
        const some = all.filter((_, i) => (n * 7 + i * 3) % 5 < 2);
        some.forEach((socket) => { expected[all.indexOf(socket)] += 1; });
        all[n % 8].emit('join-and-tell', idsOf(some), room(`round-${n}`), 'told', fromThread);
      }
      await Promise.all(heard.map((arrivals, i) => arrivals.until(expected[i])));
      await settled(all);
      assert.deepEqual(heard.map(({ seen }) => seen.length), expected);
    });
  }

  for (const close of [false, true]) {
    test(`disconnect, close ${close}`, async () => {
      const all = await eight();
      const manager = clients.manager();
      const [inside, beside] = ['/chat', '/other'].map((name) => manager.socket(name));
      await Promise.all([next(inside, 'connect'), next(beside, 'connect')]);
      await call(inside, 'join', room('out'));
      const gone = next(inside, 'disconnect');
      const along = close ? next(beside, 'disconnect') : Promise.resolve(['stays']);
      await operate(all[0], 'disconnect', { to: [room('out')], close });
      assert.equal((await gone)[0], 'io server disconnect');
      assert.equal((await along)[0], close ? 'io server disconnect' : 'stays');
      await settled(close ? all : [...all, beside]);
    });
  }
});

describe('rooms', () => {
  test('who is where', async () => {
    const all = await eight();
    const expected = { [room('a')]: idsOf(all.slice(0, 4)), [room('all')]: idsOf(all), [room('b')]: idsOf(all.slice(2, 6)) };
    assert.deepEqual(await call(all[0], 'rooms-of-all', `${nr}-`), expected);
    const [, , both] = all;
    assert.deepEqual(await call(all[5], 'rooms-of-all', both.id), { [both.id]: [both.id] });
    const sids = await call(all[1], 'sids-of', [both.id, all[7].id]);
    assert.deepEqual(sids, {
      [both.id]: [both.id, room('a'), room('all'), room('b')].sort(),
      [all[7].id]: [all[7].id, room('all')].sort(),
    });
  });

  test('what happens to them: each comes to be once and ends once, wherever its members live', async () => {
    nr += 1;
    const all = await clients.connectMany(8, '/chat');
    const log = async (prefix) => call(all[0], 'room-log', prefix);
    const own = all[3].id;
    assert.deepEqual(await log(own), [['create', own, null], ['join', own, own]]);

    await call(all[1], 'join', room('x'));
    await call(all[1], 'join', room('x'));
    await call(all[2], 'join', room('x'));
    await call(all[2], 'leave', room('x'));
    await call(all[1], 'leave', room('x'));
    await call(all[1], 'leave', room('x'));
    const x = room('x');
    assert.deepEqual(await log(x), [
      ['create', x, null], ['join', x, all[1].id], ['join', x, all[2].id], ['leave', x, all[2].id], ['leave', x, all[1].id], ['delete', x, null],
    ]);

    // All of them in and out at once; the last by going.
    const y = room('y');
    await Promise.all(all.map((socket) => call(socket, 'join', y)));
    await Promise.all(all.slice(0, 7).map((socket) => call(socket, 'leave', y)));
    all[7].disconnect();
    const happened = await eventually(() => log(y), (entries) => entries.some(([what]) => what === 'delete'), 'the room ends');
    const count = (what) => happened.filter(([entry]) => entry === what).length;
    assert.deepEqual(['create', 'join', 'leave', 'delete'].map(count), [1, 8, 8, 1]);
    assert.deepEqual(happened.at(-1), ['delete', y, null]);
  });
});
