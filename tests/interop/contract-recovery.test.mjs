// The contract's profile `csr`: connections that break, and come back as if they had not.

import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { openSession, poll, sleep, startContract } from './contract.mjs';
import { call, collect, cut, eventually, isReference, next, transports, webSocketOf } from './harness.mjs';

let contract;

before(async () => { contract = await startContract(); });
afterEach(() => contract.closeClients());
after(() => contract?.stop());

const returning = { reconnection: true, reconnectionDelay: 100, reconnectionDelayMax: 200 };

/** A socket that has been told something, without which there is no offset to come back with. */
async function settledIn(namespace = '/', options = {}) {
  const socket = await contract.connect('csr', namespace, options);
  if (transports.length > 1) await webSocketOf(socket);
  await Promise.all([next(socket, 'first'), call(socket, 'emit-op', { from: 'self', event: 'first' })]);
  return socket;
}

async function comesBack(socket, whileAway = () => {}) {
  const gone = next(socket, 'disconnect');
  cut(socket);
  await gone;
  // The server has to have seen it, too: what is told meanwhile shall not be told to a connection that is broken.
  const witness = await contract.connect('csr', socket.nsp, { auth: { token: 'secret' } });
  await eventually(() => call(witness, 'log', socket.lastId), (log) => log.at(-1)?.ev === 'disconnect', 'its end');
  await whileAway(witness);
  const back = next(socket, 'connect');
  socket.connect();
  await back;
}

async function away(namespace, more, whileAway) {
  const socket = await settledIn(namespace, more);
  socket.lastId = socket.id;
  return [socket, () => comesBack(socket, whileAway)];
}

const tell = (witness, spec) => call(witness, 'emit-op', { from: 'nsp', event: 'n', ...spec });

describe('a connection that comes back', () => {
  test('has its id, its rooms, its data, and what it has missed, in order', async () => {
    const [socket, cutAndReturn] = await away('/', {}, async (witness) => {
      await tell(witness, { args: [1] });
      await tell(witness, { to: ['mine'], args: [2] });
      await tell(witness, { to: ['other'], args: ['not for it'] });
      await tell(witness, { except: ['mine'], args: ['not for it'] });
      await tell(witness, { volatile: true, args: ['not kept'] });
      await tell(witness, { to: [socket.lastId], args: [3] });
    });
    await call(socket, 'join', 'mine');
    await call(socket, 'set-data', { color: 'red' });
    const heard = collect(socket, 'n');
    await cutAndReturn();
    assert.equal(socket.recovered, true);
    assert.equal(socket.id, socket.lastId);
    const info = await call(socket, 'info');
    assert.deepEqual([info.recovered, info.data, info.connected], [true, { color: 'red' }, true]);
    assert.deepEqual(await call(socket, 'rooms'), ['mine', socket.id].sort());
    assert.deepEqual(heard.seen.map(([n]) => n), [1, 2, 3]);
    assert.ok(heard.seen.every(([, offset]) => typeof offset === 'string'));
  });

  test('the log tells of it; middlewares are skipped', async () => {
    const [socket, cutAndReturn] = await away('/');
    await cutAndReturn();
    const log = await call(socket, 'log', socket.id);
    assert.deepEqual(log.map(({ ev, recovered }) => (recovered === undefined ? ev : [ev, recovered])), [
      ['connection', false], 'disconnecting', 'disconnect', ['connection', true],
    ]);
    assert.equal((await call(socket, 'info')).mw, false);
  });

  test('twice', async () => {
    const socket = await settledIn('/chat');
    const heard = collect(socket, 'n');
    for (const n of [1, 2, 3]) {
      socket.lastId = socket.id;
      await comesBack(socket, (witness) => tell(witness, { args: [n] }));
      assert.equal(socket.recovered, true);
    }
    await heard.until(3);
    assert.deepEqual(heard.seen.map(([n]) => n), [1, 2, 3]);
  });

  test('in a namespace that asks for a token', async () => {
    const [socket, cutAndReturn] = await away('/auth', { auth: { token: 'secret' } });
    socket.auth = {}; // it is not asked again
    await cutAndReturn();
    assert.equal(socket.recovered, true);
    assert.ok((await call(socket, 'rooms')).includes('joined-in-middleware'));
  });
});

describe('no recovery', () => {
  test('after a disconnect that was meant', async () => {
    const socket = await settledIn();
    const { id } = socket;
    socket.disconnect();
    socket.connect();
    await next(socket, 'connect');
    assert.equal(socket.recovered, false);
    assert.notEqual(socket.id, id);
  });

  test('after maxDisconnectionDuration', async () => {
    const [socket, cutAndReturn] = await away('/', {}, () => sleep(3200));
    await cutAndReturn();
    assert.equal(socket.recovered, false);
    assert.notEqual(socket.id, socket.lastId);
    assert.equal((await call(socket, 'info')).recovered, false);
  });

  test('without an offset', async () => {
    const socket = await contract.connect('csr');
    socket.lastId = socket.id;
    await comesBack(socket);
    assert.equal(socket.recovered, false);
  });

  test('with anything else for a session or an offset', async () => {
    for (const auth of [{ pid: 'nobody', offset: 'x' }, { pid: 1, offset: [] }, { pid: null }, { pid: {}, offset: 'x' }, { offset: 'x' }]) {
      const socket = await contract.connect('csr', '/', { auth });
      assert.equal((await call(socket, 'info')).recovered, false, JSON.stringify(auth));
    }
  });

  // Node's adapter in memory lets two have the same.
  test('twice with the same session', { skip: isReference && 'Node keeps it' }, async () => {
    const [socket, cutAndReturn] = await away('/');
    const { _pid: pid, _lastOffset: offset } = socket;
    await cutAndReturn();
    assert.equal(socket.recovered, true);
    const thief = await contract.connect('csr', '/', { auth: { pid, offset } });
    assert.notEqual(thief.id, socket.id);
    assert.equal((await call(thief, 'info')).recovered, false);
  });
});

describe('on the wire', () => {
  const enter = async (url, hello) => {
    const { sid } = await openSession(url);
    await poll(url, { query: { sid }, method: 'POST', body: hello });
    const { body } = await poll(url, { query: { sid } });
    return { sid, packets: body.split('\x1e') };
  };

  test('events end with an offset, unless they are volatile or ask for an acknowledgement; missed ones come before the answer to CONNECT', async () => {
    const url = contract.url('csr');
    const { sid, packets } = await enter(url, '40/chat,');
    const session = JSON.parse(packets[0].slice('40/chat,'.length));
    assert.deepEqual(Object.keys(session), ['sid', 'pid']);
    const specs = [{ from: 'self', event: 'a' }, { from: 'nsp', event: 'b' }, { from: 'self', event: 'c', ack: true, timeout: 50 }];
    const events = specs.map((spec, i) => `42/chat,${i}${JSON.stringify(['emit-op', spec])}`);
    // The poll is held while the events are handled.
    const told = [];
    for (const event of events) {
      await poll(url, { query: { sid }, method: 'POST', body: event });
      while (!told.some((packet) => packet.startsWith(`43/chat,${events.indexOf(event)}`))) {
        told.push(...(await poll(url, { query: { sid } })).body.split('\x1e'));
      }
    }
    const [a, b, c] = told.filter((packet) => packet.startsWith('42')).map((packet) => JSON.parse(packet.slice(packet.indexOf('['))));
    assert.deepEqual([a.length, b.length, c.length], [2, 2, 1]);
    assert.equal(typeof a[1], 'string');

    await poll(url, { query: { sid }, method: 'POST', body: '1' });
    const witness = await contract.connect('csr', '/chat');
    await eventually(() => call(witness, 'log', session.sid), (log) => log.at(-1).ev === 'disconnect', 'its end');
    await call(witness, 'emit-op', { from: 'socket', event: 'missed', args: [1] });
    await call(witness, 'emit-op', { from: 'socket', event: 'missed', args: [2] });
    const back = await enter(url, `40/chat,${JSON.stringify({ pid: session.pid, offset: b[1] })}`);
    assert.deepEqual(back.packets.slice(0, 2).map((packet) => JSON.parse(packet.slice('42/chat,'.length)).slice(0, 2)), [['missed', 1], ['missed', 2]]);
    assert.deepEqual(JSON.parse(back.packets[2].slice('40/chat,'.length)), session);
  });

  test('main has neither', async () => {
    const { packets } = await enter(contract.url('main'), '40');
    assert.deepEqual(Object.keys(JSON.parse(packets[0].slice(2))), ['sid']);
  });
});

test('the client comes back by itself', async () => {
  const socket = await settledIn('/', returning);
  await call(socket, 'join', 'mine');
  const back = next(socket, 'connect');
  cut(socket);
  // Without a drop that it would notice, polling's end is a disconnection that was meant.
  if (transports[0] === 'polling' && transports.length === 1) socket.connect();
  await back;
  assert.equal(socket.recovered, true);
  assert.ok((await call(socket, 'rooms')).includes('mine'));
});
