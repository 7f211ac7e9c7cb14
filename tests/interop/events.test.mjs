// What happens to an event before, beside and instead of its handlers (examples/interop/events.rs), seen by the official client: catch-all
// listeners, middlewares, errors, sessions, data, order.

import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { call, Clients, collect, cores, eventually, isReference, next, startServer, transports } from './harness.mjs';

let server;
let clients;

before(async () => {
  server = await startServer('interop', { args: ['--cores', `${cores}`] });
  clients = new Clients(server);
});
afterEach(() => clients.close());
after(() => server?.stop());

const enter = (name = 'ada') => clients.connect('/events', { auth: { name } });
const notesOf = (socket) => call(socket, 'notes');
const onlyOurs = isReference && 'Node has another order, or none';
/** The same numbers for the same seed, between 0 and 1. */
function lots(seed) {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

describe('listeners', () => {
  test('catch-all first, then middlewares, then handlers in the order in which they were attached', async () => {
    const socket = await enter();
    assert.equal(await call(socket, 'several'), 'answered');
    const before = [['first', 'several'], ['any', 'several'], ['gate', 'several'], ['own gate', 'several']];
    assert.deepEqual(await notesOf(socket), [...before, 'one', 'two', 'own', 'once']);
    await call(socket, 'several');
    assert.deepEqual(await notesOf(socket), [...before, 'one', 'two', 'own'], 'once is once');
  });

  test('what was taken off is not called any more', async () => {
    const [socket, other] = [await enter(), await enter('bob')];
    assert.equal(await call(socket, 'off'), true);
    await notesOf(socket);
    socket.emit('several');
    const notes = await notesOf(socket);
    assert.ok(!notes.includes('own') && !notes.includes('once'), JSON.stringify(notes));
    assert.ok(!notes.some(([what]) => what === 'first'), JSON.stringify(notes));
    await call(other, 'several');
    assert.ok((await notesOf(other)).includes('once'), 'of the other socket they are still there');
  });

  test('an event that nobody handles is seen by the catch-all listeners', async () => {
    const socket = await enter();
    socket.emit('what is this', 1, { two: 2 });
    assert.deepEqual((await notesOf(socket)).slice(0, 2), [['first', 'what is this'], ['any', 'what is this']]);
  });
});

describe('middlewares', () => {
  test('refuse an event: an error instead of the handlers, and the connection lives', async () => {
    const socket = await enter();
    for (const [event, seen] of [['forbidden', ['first', 'any', 'gate']], ['not here', ['first', 'any', 'gate', 'own gate']]]) {
      let answered = false;
      const refused = next(socket, 'refused');
      socket.emit(event, () => { answered = true; });
      assert.deepEqual(await refused, [`${event} is forbidden`]);
      assert.deepEqual(await notesOf(socket), seen.map((what) => [what, event]));
      assert.equal(answered, false);
    }
    assert.ok(socket.connected);
  });

  test('wait, and let pass', async () => {
    const socket = await enter();
    assert.equal(await call(socket, 'slow gate', 7, 30), 7);
  });

  test('keep the order of a socket while they wait', { skip: onlyOurs }, async () => {
    const sockets = await clients.connectMany(3, '/events', { auth: { name: 'ada' } });
    await Promise.all(sockets.map(async (socket, at) => {
      const draw = lots(at + 1);
      const order = [];
      await Promise.all(Array.from({ length: 100 }, async (_, n) => {
        order.push(await call(socket, 'slow gate', n, draw() < 0.2 ? Math.floor(5 * draw()) : 0));
      }));
      assert.deepEqual(order, Array.from({ length: 100 }, (_, n) => n));
    }));
  });

  test('of a namespace refuse a client, with data, or give it a session', async () => {
    const mallory = clients.open('/events', { auth: { name: 'mallory' } });
    const [error] = await next(mallory, 'connect_error');
    assert.equal(error.message, 'not you');
    assert.deepEqual(error.data, { code: 17 });
    const [ada, bob] = [await enter('ada'), await enter('bob')];
    assert.deepEqual([await call(ada, 'who am i'), await call(bob, 'who am i')], ['ada', 'bob']);
  });
});

describe('what goes out', () => {
  test('is seen by the socket that it goes to: emits, questions and broadcasts, but no acknowledgements', async () => {
    const [ada, bob] = [await enter('ada'), await enter('bob')];
    ada.on('question', (what, answer) => answer(`${what}? 36`));
    await call(ada, 'watch');
    await notesOf(ada);
    const out = async () => (await notesOf(ada)).filter(([what]) => what === 'out').map(([, ...rest]) => rest);

    await call(ada, 'tell me', 'direct', 'a');
    assert.equal(await call(ada, 'ask me'), 'how old? 36');
    assert.deepEqual(await out(), [['direct', ['a']], ['question', ['how old']]]);

    const heard = collect(ada, 'all');
    await call(bob, 'tell', null, 'all', 'b');
    await heard.until(1);
    await call(bob, 'tell', ada.id, 'all', 'c');
    await heard.until(2);
    await call(bob, 'tell', bob.id, 'not for ada', 'd');
    assert.deepEqual(await out(), [['all', ['b']], ['all', ['c']]]);

    await call(ada, 'unwatch');
    await call(bob, 'tell', null, 'all', 'e');
    await heard.until(3);
    assert.deepEqual(await out(), []);
  });
});

describe('data', () => {
  test('of a socket is read by itself, and by others on whatever core', async () => {
    const sockets = await clients.connectMany(4, '/events', { auth: { name: 'ada' } });
    const [first, ...rest] = sockets;
    assert.deepEqual(await call(first, 'data'), {});
    await Promise.all(rest.map((socket, n) => call(socket, 'set data', { n, list: [n, 'ä'] })));
    assert.deepEqual(await call(rest[1], 'data'), { n: 1, list: [1, 'ä'] });
    const all = await call(first, 'all data');
    assert.deepEqual(all[first.id], {});
    rest.forEach((socket, n) => assert.deepEqual(all[socket.id], { n, list: [n, 'ä'] }));
  });
});

describe('what goes wrong', () => {
  test('in the protocol is told before the session ends', async () => {
    const [ada, bob] = [await enter('ada'), await enter('bob')];
    const { id } = ada; // it has none once it is disconnected
    const [broken, left] = [next(bob, 'broken'), next(ada, 'disconnect')];
    ada.io.engine.write('2/events,["no end');
    assert.deepEqual(await broken, [id]);
    await left;
    assert.ok(bob.connected);
  });

  test('in a handler harms neither the connection nor the core', { skip: onlyOurs }, async () => {
    const [ada, bob] = [await enter('ada'), await enter('bob')];
    let answered = 0;
    for (let round = 0; round < 3; round += 1) ada.emit('panic', () => { answered += 1; });
    const refused = next(ada, 'refused');
    ada.emit('fail', () => { answered += 1; });
    assert.deepEqual(await refused, ['it failed']);
    assert.deepEqual([await call(ada, 'who am i'), await call(bob, 'who am i')], ['ada', 'bob']);
    assert.equal(answered, 0);
  });
});

describe('order', () => {
  test('handlers that wait answer in the order of their events', { skip: onlyOurs }, async () => {
    const count = 1000;
    const sockets = await clients.connectMany(20, '/events', { auth: { name: 'ada' } });
    await Promise.all(sockets.map(async (socket, at) => {
      const draw = lots(at + 1);
      const order = [];
      await new Promise((resolve, reject) => {
        socket.once('disconnect', reject);
        for (let n = 0; n < count; n += 1) {
          socket.emit('yield', n, Math.floor(4 * draw()), (answer) => {
            order.push(answer);
            if (order.length === count) resolve();
          });
        }
      });
      assert.deepEqual(order, Array.from({ length: count }, (_, n) => n));
    }));
  });

  test('concurrent handlers overtake each other', async () => {
    const socket = await enter();
    const order = [];
    await Promise.all([[1, 400], [2, 200], [3, 0]].map(async ([n, ms]) => order.push(await call(socket, 'slow beside', n, ms))));
    assert.deepEqual(order, [3, 2, 1]);
  });

  test('others are served meanwhile', async () => {
    const [ada, bob] = [await enter('ada'), await enter('bob')];
    let done = false;
    const slow = call(ada, 'slow', 1, 1000).then(() => { done = true; });
    await eventually(() => call(bob, 'who am i'), (name) => name === 'bob', 'an answer');
    assert.equal(done, false, `${transports}`);
    await slow;
  });
});
