// Scripts with the official client: what it is told, and what the server's log says of it.

import { io } from 'socket.io-client';
import msgpack from 'socket.io-msgpack-parser';
import { sleep } from '../contract.mjs';
import { call, eventually, next } from '../harness.mjs';



/** A socket that writes down all that it hears. */
function listening(url, namespace = '/', options = {}) {
  const socket = io(url + namespace, { transports: ['websocket'], forceNew: true, reconnection: false, ...options });
  socket.heard = [];
  socket.onAny((...args) => socket.heard.push(args));
  for (const event of ['connect_error', 'disconnect']) {
    socket.on(event, (reason) => socket.heard.push([event, reason.message ?? reason, reason.data]));
  }
  return socket;
}

async function within(sockets, run) {
  const list = [];
  const open = (...args) => {
    const socket = listening(...args);
    list.push(socket);
    return socket;
  };
  const connect = async (...args) => {
    const socket = open(...args);
    await next(socket, 'connect');
    return socket;
  };
  try {
    return await run(connect, open);
  } finally {
    for (const socket of list) socket.disconnect();
  }
}

const all = (socket, event, ...args) => new Promise((resolve) => { socket.emit(event, ...args, (...got) => resolve(got)); });

const VALUES = [
  [], [null], [0, -1, 1.5, 1e21], [true, false], ['', 'text', 'é\u{1F600}\u2028'], [[], [[]], {}], [{ a: { b: [1, { c: null }] } }],
  [Buffer.from([1, 2, 3])], [{ nested: [Buffer.from([]), Buffer.from([255])] }, 'after'], [{ _placeholder: true, num: 0 }], [new Date(0)],
  [undefined, 'x'], ['x'.repeat(2000)],
];

export async function values(log, url) {
  for (const [profile, options] of [['main', {}], ['msgpack', { parser: msgpack }], ['eio3', {}]]) {
    for (const transports of [['websocket'], ['polling']]) {
      await within([], async (connect) => {
        const socket = await connect(url(profile), '/chat', { transports, ...options });
        for (const [i, args] of VALUES.entries()) {
          log.note(`${profile}, ${transports}, echo-ack ${i}`, await all(socket, 'echo-ack', ...args));
          socket.emit('echo', ...args);
          log.note(`${profile}, ${transports}, echo ${i}`, await next(socket, 'echo'));
        }
      });
    }
  }
}

export async function handlers(log, url) {
  await within([], async (connect) => {
    const socket = await connect(url('main'), '/', { auth: { user: 'ann' }, query: { burst: 3, q: 'a b' } });
    log.note('info', await all(socket, 'info'));
    log.note('burst on arrival', socket.heard.splice(0));
    const [handshake] = await all(socket, 'handshake');
    const { headers, issued, time, url: path, query, ...rest } = handshake;
    const { t, ...parameters } = query;
    log.note('handshake', { ...rest, query: parameters, headers: Object.keys(headers).sort(), issued: typeof issued, time: typeof time, path: path.split('?')[0] });
    log.note('double-ack', await all(socket, 'double-ack', 'v'));
    log.note('set-data', [await all(socket, 'set-data', { a: 1, b: [2] }), await all(socket, 'set-data', { a: { c: 1 } }), (await call(socket, 'info')).data]);
    log.note('rooms', [
      await all(socket, 'join', 'x'), await all(socket, 'join', ['y', 'z', 'x']), await all(socket, 'leave', 'y'), await all(socket, 'leave', 'never'), await all(socket, 'rooms'),
    ]);
    socket.emit('blocked', 1);
    socket.emit('unknown', 1);
    log.note('burst', [await all(socket, 'burst', 3, 2), await all(socket, 'burst-bin', 2, 3), socket.heard.splice(0)]);
    for (const number of [0, 1, 2]) socket.emit('seq', number);
    log.note('seq', await all(socket, 'seq-report'));
    socket.emit('seq', 9);
    log.note('seq, out of order', await all(socket, 'seq-report'));
    socket.on('q', (...args) => args.pop()(...args, 'answer'));
    log.note('ask', [await all(socket, 'ask', 'q', [1, 'two'], 5000), await all(socket, 'ask', 'unheard', [], 50), await all(socket, 'ask-forever', 'q', [])]);
    log.note('any-log', await all(socket, 'any-log'));
    log.note('namespaces', await all(socket, 'namespaces'));
    log.note('sse', await all(socket, 'sse', 'cluster-event', ['x'], false));
    log.note('sse with acknowledgement', await Promise.race([all(socket, 'sse', 'cluster-event', ['x'], true), sleep(500).then(() => 'never')]));
    log.note('sse-log', await all(socket, 'sse-log'));
    log.note('log', await all(socket, 'log', socket.id));
  });
}

const ENTRIES = [
  ['/', {}], ['/chat', {}], ['/auth', {}], ['/auth', { token: 'secret' }], ['/auth', { token: ['secret'] }], ['/slow', {}], ['/mw', {}], ['/dyn-1', {}],
  ['/dyn-1', { deny: 1 }], ['/dyn-1', { deny: 0 }], ['/dyn-1', { deny: '' }], ['/dyn-x', {}], ['/fn-1', {}], ['/fn-1', { allow: 'yes' }],
  ['/fn-1', { allow: 0 }], ['/nothing', {}],
];

export async function namespaces(log, url) {
  for (const [name, auth] of ENTRIES) {
    await within([], async (connect, open) => {
      const socket = open(url('main'), name, { auth });
      await Promise.race([next(socket, 'connect'), next(socket, 'connect_error')]);
      const step = `${name} ${JSON.stringify(auth)}`;
      if (!socket.connected) return log.note(step, socket.heard);
      return log.note(step, [await call(socket, 'info'), await call(socket, 'rooms'), await call(socket, 'log', socket.id), await call(socket, 'any-log')]);
    });
  }
}

const OPERATIONS = [
  { from: 'nsp' }, { from: 'socket' }, { from: 'self' }, { from: 'nsp', to: ['r1'] }, { from: 'nsp', to: ['r1', 'r2'] }, { from: 'nsp', except: ['r2'] },
  { from: 'nsp', to: ['r1', 'r3'], except: ['r2'] }, { from: 'socket', to: ['r1', 'r2'] }, { from: 'socket', except: ['r3'] }, { from: 'nsp', local: true },
  { from: 'socket', to: ['r2'], local: true }, { from: 'nsp', compress: false }, { from: 'nsp', to: ['nobody'] },
  { from: 'nsp', ack: true, timeout: 5000, event: 'q' }, { from: 'socket', to: ['r1', 'r3'], ack: true, timeout: 5000, event: 'q' },
  { from: 'nsp', to: ['nobody'], ack: true, timeout: 5000, event: 'q' }, { from: 'nsp', to: ['r1'], ack: true, timeout: 100, event: 'unheard' },
  { from: 'self', ack: true, timeout: 5000, event: 'q' }, { from: 'self', ack: true, event: 'q' },
];

export async function operators(log, url) {
  await within([], async (connect) => {
    const sockets = [];
    for (const rooms of [['r1'], ['r1', 'r2'], ['r2', 'r3'], ['r3'], []]) {
      const socket = await connect(url('main'), '/dyn-1');
      await call(socket, 'join', rooms);
      socket.on('q', (...args) => args.pop()(sockets.indexOf(socket), 'second'));
      sockets.push(socket);
    }
    for (const spec of OPERATIONS) {
      const { responses, ...rest } = await call(sockets[0], 'emit-op', { event: 'told', args: [1], ...spec });
      await Promise.all(sockets.map((socket) => call(socket, 'rooms')));
      const heard = sockets.map((socket) => socket.heard.splice(0).map((args) => args.filter((arg) => typeof arg !== 'function')));
      log.note(JSON.stringify(spec), { ...rest, responses: responses.sort(), heard });
    }
    await call(sockets[3], 'set-data', { level: 3 });
    const found = await call(sockets[0], 'room-op', { op: 'fetch', in: ['r3'] });
    log.note('fetch', found.map(({ id, rooms, ...rest }) => [sockets.findIndex((socket) => socket.id === id), rooms.length, rest]).sort());
    for (const spec of [{ op: 'join', in: ['r1'], rooms: ['new'] }, { op: 'leave', rooms: ['r2'] }, { op: 'disconnect', in: ['r3'] }, { op: 'disconnect', close: true }]) {
      // Who is disconnected gets no answer.
      const answer = spec.close ? sockets[0].emit('room-op', spec) && 'none' : await call(sockets[0], 'room-op', spec);
      const left = spec.close ? 0 : spec.op === 'disconnect' ? 3 : 5;
      await eventually(() => sockets.filter(({ connected }) => connected).length, (count) => count === left, `${left} are left`);
      const rooms = await Promise.all(sockets.filter(({ connected }) => connected).map(async (socket) => (await call(socket, 'rooms')).filter((room) => room.length < 5)));
      log.note(`room-op ${JSON.stringify(spec)}`, { answer, rooms, heard: sockets.map((socket) => socket.heard.splice(0)) });
    }
  });
}

const PARTINGS = {
  'socket.disconnect': (socket) => socket.disconnect(),
  'disconnect-me(false)': (socket) => socket.emit('disconnect-me', false),
  'disconnect-me(true)': (socket) => socket.emit('disconnect-me', true),
  'engine.close': (socket) => socket.io.engine.close(),
  terminate: (socket) => socket.io.engine.transport.ws.terminate(),
  'a broken packet': (socket) => socket.io.engine.transport.ws.send('42["a"'),
  'a broken frame': (socket) => socket.io.engine.transport.ws._socket.write(Buffer.from([0xff, 0xff])),
  'an unknown packet': (socket) => socket.io.engine.transport.ws.send('9'),
  'CONNECT twice': (socket) => socket.io.engine.transport.ws.send('40/chat,'),
};

export async function partings(log, url) {
  await within([], async (connect) => {
    const witness = await connect(url('main'), '/chat');
    for (const [name, part] of Object.entries(PARTINGS)) {
      const socket = await connect(url('main'), '/chat');
      await call(socket, 'join', 'r');
      const { id } = socket;
      const gone = next(socket, 'disconnect');
      part(socket);
      await gone;
      const entries = await eventually(() => call(witness, 'log', id), (log_) => log_.at(-1).ev === 'disconnect', 'its end');
      log.note(name, { heard: socket.heard, entries: entries.map((entry) => (entry.ev === 'error' ? { ev: 'error' } : entry)) });
    }
    log.note('timeouts', await Promise.all(['fast', 'eio3'].map(async (profile) => {
      const mute = await connect(url(profile), '/chat');
      const { id } = mute;
      mute.io.engine.transport.ws.send = () => {};
      const watcher = await connect(url(profile), '/chat');
      const entries = await eventually(() => call(watcher, 'log', id), (log_) => log_.at(-1).ev === 'disconnect', 'its end');
      mute.io.engine.transport.ws.terminate();
      return entries;
    })));
  });
}

export async function recovery(log, url) {
  await within([], async (connect) => {
    const witness = await connect(url('csr'));
    const socket = await connect(url('csr'));
    await call(socket, 'join', 'mine');
    await call(socket, 'set-data', { a: 1 });
    socket.emit('echo', 'first');
    await next(socket, 'echo');
    const { id } = socket;
    socket.io.engine.transport.ws.terminate();
    await eventually(() => call(witness, 'log', id), (log_) => log_.at(-1).ev === 'disconnect', 'its end');
    for (const spec of [{ args: [1] }, { to: ['mine'], args: [2] }, { to: ['other'], args: [3] }, { except: ['mine'], args: [4] }, { volatile: true, args: [5] }, { to: [id], args: [6] }]) {
      await call(witness, 'emit-op', { from: 'nsp', event: 'n', ...spec });
    }
    socket.connect();
    await next(socket, 'connect');
    log.note('what it heard', socket.heard.map((args) => args.slice(0, 2)));
    log.note('recovered', [socket.recovered, socket.id === id, await call(socket, 'info'), await call(socket, 'rooms')]);
    log.note('log', await call(socket, 'log', id));
    log.note('any-log', await call(socket, 'any-log'));
    for (const auth of [{ pid: 'nobody', offset: 'x' }, { pid: 1, offset: 2 }, { pid: [] }]) {
      const other = await connect(url('csr'), '/', { auth });
      log.note(JSON.stringify(auth), await call(other, 'info'));
    }
  });
}
