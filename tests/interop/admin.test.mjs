// What the Socket.IO Admin UI says and is told, at the level of its events.

import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { call, Clients, collect, connected, eventually, isReference, next, startServer, within } from './harness.mjs';

const LOGIN = { username: 'admin', password: 'changeit' };
const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

for (const mode of ['development', 'production']) {
  describe(`${mode} mode`, () => {
    let server;
    let clients;
    before(async () => {
      server = await startServer('admin', { args: mode === 'production' ? ['--production'] : [] });
      clients = new Clients(server);
    });
    afterEach(() => clients.close());
    after(() => server?.stop());

    test('wrong credentials are refused', async () => {
      // (A name without a password ends Node's process.)
      const bare = isReference ? [] : [{ username: 'admin' }, { username: 'admin', password: { a: 1 } }, { username: 7, password: [] }];
      for (const auth of [{}, ...bare, { ...LOGIN, password: 'wrong' }, { ...LOGIN, username: 'root' }, { sessionId: 'x' }]) {
        const refused = clients.open('/admin', { auth });
        const [error] = await next(refused, 'connect_error');
        assert.equal(error.message, 'invalid credentials');
      }
    });

    test('a password gives a session, and the session lets in again', async () => {
      const admin = clients.open('/admin', { auth: LOGIN });
      const session = next(admin, 'session');
      await connected(admin);
      const [sessionId] = await session;
      assert.match(sessionId, /^[0-9a-f]{16}$/);
      const again = clients.open('/admin', { auth: { sessionId } });
      const config = next(again, 'config');
      await connected(again);
      const [{ supportedFeatures }] = await config;
      assert.ok(supportedFeatures.includes('AGGREGATED_EVENTS') && supportedFeatures.includes('MDISCONNECT'));
      assert.equal(supportedFeatures.includes('ALL_EVENTS'), mode === 'development');
    });

    test('numbers come every two seconds', async () => {
      const member = await clients.connect('/chat');
      const admin = clients.open('/admin', { auth: LOGIN });
      const stats = collect(admin, 'server_stats');
      await connected(admin);
      await call(member, 'hello');
      const counted = () => stats.seen.flatMap(([{ aggregatedEvents }]) => aggregatedEvents);
      await eventually(
        () => counted().map(({ type }) => type),
        (types) => ['rawConnection', 'packetsIn', 'packetsOut', 'bytesIn', 'bytesOut'].every((type) => types.includes(type)),
        'all kinds of numbers',
      );
      for (const { timestamp, count } of counted()) {
        assert.equal(timestamp % 1000, 0);
        assert.ok(Math.abs(Date.now() - timestamp) < 60_000 && count > 0);
      }
      const [last] = stats.seen.at(-1);
      assert.ok(last.uptime > 0 && last.clientsCount >= 2 && last.pollingClientsCount >= 0);
      assert.ok(last.serverId && last.hostname && last.pid === server.child.pid);
      const names = last.namespaces.map(({ name }) => name).sort();
      assert.deepEqual(names, ['/', '/admin', '/chat']);
      assert.equal(last.namespaces.find(({ name }) => name === '/chat').socketsCount, 1);
      member.disconnect();
      await eventually(
        () => counted().filter(({ type }) => type === 'rawDisconnection').map(({ subType }) => subType),
        (reasons) => reasons.includes('transport close'),
        'the end is counted with its reason',
      );
      await eventually(
        () => stats.seen.at(-1)[0].namespaces.find(({ name }) => name === '/chat').socketsCount,
        (count) => count === 0,
        'the chat is empty',
      );
    });

    test('commands reach whom they are for', async () => {
      const [one, other] = await clients.connectMany(2, '/chat');
      const admin = await clients.connect('/admin', { auth: LOGIN });
      admin.emit('join', '/chat', 'lobby', one.id);
      await eventually(() => call(one, 'rooms'), (rooms) => rooms.includes('lobby'), 'one is in the lobby');
      assert.ok(!(await call(other, 'rooms')).includes('lobby'));
      admin.emit('join', '/chat', 'everybody', undefined);
      await eventually(() => call(other, 'rooms'), (rooms) => rooms.includes('everybody'), 'all are in that room');

      const heard = next(one, 'news');
      const others = collect(other, 'news');
      admin.emit('emit', '/chat', 'lobby', 'news', 1, 'two', { three: Buffer.from([3]) });
      assert.deepEqual(await heard, [1, 'two', { three: Buffer.from([3]) }]);
      assert.equal(others.seen.length, 0);
      admin.emit('emit', '/chat', undefined, 'news', 'for all');
      await others.until(1);

      admin.emit('leave', '/chat', 'lobby', one.id);
      await eventually(() => call(one, 'rooms'), (rooms) => !rooms.includes('lobby'), 'one has left the lobby');

      const reason = next(one, 'disconnect');
      admin.emit('_disconnect', '/chat', false, one.id);
      assert.equal((await reason)[0], 'io server disconnect');
      assert.ok(other.connected);
    });
  });
}

describe('development mode shows', () => {
  let server;
  let clients;
  before(async () => {
    server = await startServer('admin');
    clients = new Clients(server);
  });
  afterEach(() => clients.close());
  after(() => server?.stop());

  test('all sockets to who comes', async () => {
    const member = await clients.connect('/chat', { query: { room: 'a' }, auth: { secret: 'kept' } });
    await call(member, 'set-data', { name: 'Ada' });
    await call(member, 'join', 'lobby');
    const admin = clients.open('/admin', { auth: LOGIN });
    const all = next(admin, 'all_sockets');
    await connected(admin);
    const [sockets] = await all;
    const { handshake, ...shown } = sockets.find(({ id }) => id === member.id);
    assert.deepEqual({ ...shown, clientId: shown.clientId.length, rooms: shown.rooms.sort() }, {
      id: member.id, clientId: 12, transport: member.io.engine.transport.name, nsp: '/chat', data: { name: 'Ada' }, rooms: [member.id, 'lobby'].sort(),
    });
    assert.equal(handshake.query.room, 'a');
    assert.ok(handshake.headers.host && handshake.url.startsWith('/socket.io/') && handshake.address);
    assert.equal(handshake.auth, undefined);
    assert.equal(handshake.secure, false);
    assert.ok(Math.abs(handshake.issued - Date.now()) < 60_000 && Date.parse(handshake.time) > 0);
  });

  test('what a socket does, from its beginning to its end', async () => {
    const admin = await clients.connect('/admin', { auth: LOGIN });
    const events = [];
    admin.onAny((name, ...args) => { if (name !== 'server_stats') events.push([name, ...args]); });
    const member = await clients.connect('/chat');
    await call(member, 'join', 'lobby');
    await call(member, 'set-data', { name: 'Ada' });
    const heard = next(member, 'said');
    member.emit('say', 'hello', { x: 1 });
    await heard;
    await call(member, 'leave', 'lobby');
    const { id } = member;
    member.disconnect();
    const its = () => events.filter(([name, ...args]) => (name === 'socket_connected' || name === 'socket_updated' ? args[0].id === id : args.includes(id)));
    await eventually(its, (list) => list.some(([name]) => name === 'socket_disconnected'), 'its end is shown');
    const shown = its();
    const find = (name, accept = () => true) => {
      const found = shown.find(([other, ...args]) => other === name && accept(...args));
      assert.ok(found, `${name} is among ${JSON.stringify(shown)}`);
      return found.slice(1);
    };
    const [view, since] = find('socket_connected');
    assert.equal(view.nsp, '/chat');
    assert.match(since, ISO);
    const [namespace, room, who, when] = find('room_joined', (_, name) => name === 'lobby');
    assert.deepEqual([namespace, room, who], ['/chat', 'lobby', id]);
    assert.match(when, ISO);
    find('room_joined', (_, name) => name === id);
    find('room_left', (_, name) => name === 'lobby');
    assert.deepEqual(find('socket_updated', ({ data }) => data?.name)[0], { id, nsp: '/chat', data: { name: 'Ada' } });
    assert.deepEqual(find('event_received', (_nsp, _id, args) => args[0] === 'say').slice(0, 3), ['/chat', id, ['say', 'hello', { x: 1 }]]);
    assert.deepEqual(find('event_received', (_nsp, _id, args) => args[0] === 'join').slice(0, 3), ['/chat', id, ['join', 'lobby']]);
    assert.deepEqual(find('event_sent').slice(0, 3), ['/chat', id, ['said', 'hello', { x: 1 }]]);
    assert.deepEqual(find('socket_disconnected').slice(0, 3), ['/chat', id, 'client namespace disconnect']);
    assert.ok(!events.some(([name, nsp]) => name.startsWith('event_') && nsp === '/admin'), 'its own events are not shown');
  });

  test('an upgrade', { timeout: 30_000 }, async () => {
    const admin = await clients.connect('/admin', { auth: LOGIN });
    const updates = collect(admin, 'socket_updated');
    const member = await clients.connect('/chat', { transports: ['polling', 'websocket'] });
    await within(updates.until(1), 'the upgrade is shown');
    assert.deepEqual(updates.seen[0], [{ id: member.id, nsp: '/chat', transport: 'websocket' }]);
  });
});

test('who may only look is obeyed in nothing', async () => {
  const server = await startServer('admin', { args: ['--readonly'] });
  const clients = new Clients(server);
  try {
    const admin = clients.open('/admin', { auth: LOGIN });
    const config = next(admin, 'config');
    await connected(admin);
    assert.deepEqual((await config)[0].supportedFeatures, ['AGGREGATED_EVENTS', 'ALL_EVENTS']);
    const member = await clients.connect('/chat');
    admin.emit('join', '/chat', 'lobby', member.id);
    admin.emit('_disconnect', '/chat', false, member.id);
    await next(admin, 'server_stats');
    assert.ok(!(await call(member, 'rooms')).includes('lobby'));
    assert.ok(member.connected);
  } finally {
    clients.close();
    await server.stop();
  }
});
