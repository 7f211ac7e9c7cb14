// Clients of revision 3 (`allow_eio3`): npm's engine.io-client 3 with examples/engine_echo.rs, and the official client of Socket.IO 2 with
// examples/interop, alone and beside clients of today.
//
// Under Node these clients take no binary bodies on polling (their XMLHttpRequest has no `responseType`): eio3-browser.test.mjs is about those.

import assert from 'node:assert/strict';
import http from 'node:http';
import net from 'node:net';
import { after, afterEach, before, describe, test } from 'node:test';
import engine3 from 'engine.io-client-3';
import io2 from 'socket.io-client-2';
import { bytes, call, Clients, collect, eventually, isReference, next, startServer, within } from './harness.mjs';

// Node's server has no cores.
const CORES = isReference ? ['1'] : ['1', '2'];

const WAYS = {
  'polling': { transports: ['polling'] },
  'polling, in base64': { transports: ['polling'], forceBase64: true },
  'websocket': { transports: ['websocket'] },
  'websocket, in base64': { transports: ['websocket'], forceBase64: true },
  'the upgrade from one to the other': {},
  'the upgrade, in base64': { forceBase64: true },
};

// Node's server stops waiting for a client's pings when it has upgraded, and never notices that they stay away. Ours goes on waiting.
const noticesSilence = ({ transports }) => !isReference || transports !== undefined;

/** WebSockets that come late, at a random moment of the talk: clients upgrade at once otherwise, before there is much to lose. */
const TALK_MS = 1000;
const late = new http.Agent();
late.createConnection = (options, done) => {
  setTimeout(() => {
    const stream = net.connect(options);
    stream.once('connect', () => done(null, stream)).once('error', done);
  }, Math.random() * TALK_MS);
};

const UNSUPPORTED = { code: 5, message: 'Unsupported protocol version' };

// Every length in UTF-8 and UTF-16, at both ends of its range; what frames and payloads are made of; and text in other directions and forms.
const TEXTS = [
  '', 'text', '\0', '\u007f\u0080', '\u07ff\u0800', '\ud7ff\ue000', '\ufeff', '\ufffd\uffff', '\u{10000}\u{10ffff}', 'ü€😀'.repeat(100),
  '4', 'b', 'b4AQID', '1:', '3:4hi', '\u001e', '\u2028\u2029', '\r\n', '\\n', '"', 'e\u0301', 'עברית', '👩‍👩‍👧‍👦',
];

// A nothing and an empty text are one thing on the wire.
const isBytes = (data) => typeof (data ?? '') !== 'string';
const plain = (data) => (isBytes(data) ? Buffer.from(data).toString('hex') : data ?? '');
const sleep = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

/** What the session's requests are answered with, when it is over. */
async function forgotten(url, sid) {
  const target = `${url}/?EIO=3&transport=polling&sid=${encodeURIComponent(sid)}`;
  const ask = async () => (await fetch(target)).json().catch(() => null);
  await eventually(ask, (answer) => answer?.code === 1, 'the session is unknown');
}

/** No more pings from this client, and no notice of it by the client itself. */
function silence(session) {
  session.off('heartbeat');
  session.setPing = () => {};
  clearTimeout(session.pingIntervalTimer);
  clearTimeout(session.pingTimeoutTimer);
}

for (const cores of CORES) {
  describe(`Engine.IO, cores: ${cores}`, () => {
    let server;
    const open = [];
    before(async () => {
      server = await startServer('engine', {
        args: ['--allow-eio3', '--cores', cores, '--ping-interval', '300', '--ping-timeout', '3000'],
      });
    });
    afterEach(() => open.splice(0).forEach((session) => session.close()));
    after(() => server?.stop());

    async function connect(options, to = server) {
      const session = engine3(to.url, { path: '/engine.io', ...options });
      session.binaryType = 'arraybuffer';
      open.push(session);
      await next(session, 'open');
      return session;
    }

    function hear(session, count) {
      const heard = [];
      const all = new Promise((resolve, reject) => {
        session.on('message', (data) => {
          heard.push(plain(data));
          if (heard.length === count) resolve(heard);
        });
        session.on('close', (reason) => reject(new Error(`closed: ${reason}, after ${heard.length} of ${count}`)));
      });
      return within(all, `${count} messages`);
    }

    for (const [way, options] of Object.entries(WAYS)) {
      describe(way, () => {
        test('texts of every kind, and bytes as Buffer, ArrayBuffer and view, come back as they were, in order', async () => {
          const session = await connect(options);
          const sent = [...TEXTS];
          for (const length of [0, 1, 2, 3, 4, 125, 126, 1000, 70_000]) {
            const data = bytes(length, length);
            const copied = new Uint8Array(data).buffer;
            sent.push(data, copied, new Uint8Array(copied, length >> 1));
          }
          const heard = hear(session, sent.length);
          for (const [i, message] of sent.entries()) {
            session.send(message);
            if (i % 7 === 0) await sleep(0);
          }
          assert.deepEqual(await heard, sent.map((data) => (ArrayBuffer.isView(data) ? plain(Buffer.from(data)) : plain(data))));
        });

        test('half a character becomes U+FFFD, and what follows it is read', async () => {
          const session = await connect(options);
          const heard = hear(session, 3);
          for (const text of ['a\ud800', '\udfffb', 'after']) session.send(text);
          assert.deepEqual(await heard, ['a\ufffd', '\ufffdb', 'after']);
        });

        test('a thousand messages at once, of texts and bytes', async () => {
          const session = await connect(options);
          const sent = Array.from({ length: 1000 }, (_, i) => (i % 3 ? `${i} ü😀` : bytes(i % 50, i)));
          const heard = hear(session, sent.length);
          for (const message of sent) session.send(message);
          assert.deepEqual(await heard, sent.map(plain));
        });

        test('large ones', async () => {
          const session = await connect(options);
          const sent = ['é😀x'.repeat(100_000), bytes(700_000), 'x'.repeat(900_000)];
          for (const message of sent) {
            const heard = hear(session, 1);
            session.send(message);
            assert.ok((await heard)[0] === plain(message), `${message.length}`);
          }
        });

        test('a client that leaves is gone', async () => {
          const session = await connect(options);
          const { id } = session;
          session.close();
          await forgotten(`${server.url}/engine.io`, id);
        });
      });
    }

    test('the upgrade takes place, once', async () => {
      const session = await connect({});
      assert.equal(session.transport.name, 'polling');
      await next(session, 'upgrade');
      assert.equal(session.transport.name, 'websocket');
      // Under Node this client asks for base64 on polling; a WebSocket has its binary frames all the same.
      const { seen } = collect(session.transport.ws, 'message');
      session.send(Buffer.from([1, 2]));
      await next(session, 'message');
      assert.deepEqual(seen.flat().filter(isBytes).map(plain), ['040102']);
    });

    test('a client that pings is answered, and stays', async () => {
      await Promise.all(Object.values(WAYS).map(async (options) => {
        const session = await connect(options);
        // Longer than one may be silent.
        await collect(session, 'pong').until(12);
        const heard = hear(session, 1);
        session.send('still here');
        assert.deepEqual(await heard, ['still here']);
      }));
    });

    test('a client that does not ping is gone', async () => {
      const strict = await startServer('engine', {
        args: ['--allow-eio3', '--cores', cores, '--ping-interval', '200', '--ping-timeout', '400'],
      });
      try {
        await Promise.all(Object.values(WAYS).filter(noticesSilence).map(async (options) => {
          const session = await connect(options, strict);
          if (!options.transports) await next(session, 'upgrade');
          silence(session);
          const { id } = session;
          assert.equal((await next(session, 'close'))[0], 'transport close');
          await forgotten(`${strict.url}/engine.io`, id);
        }));
      } finally {
        await strict.stop();
      }
    });
  });

  describe(`Socket.IO, cores: ${cores}`, () => {
    let server;
    let today;
    const open = [];
    before(async () => {
      server = await startServer('interop', { args: ['--allow-eio3', '--cores', cores] });
      today = new Clients(server);
    });
    afterEach(() => {
      for (const socket of open.splice(0)) socket.io.close();
      today.close();
    });
    after(() => server?.stop());

    /** A socket on a connection of its own, not yet connected. */
    function start(namespace, options, to = server) {
      const socket = io2(to.url + namespace, { forceNew: true, reconnection: false, ...options });
      open.push(socket);
      return socket;
    }

    async function connect(namespace, options, to) {
      const socket = start(namespace, options, to);
      await next(socket, 'connect');
      return socket;
    }

    /** `emit` with an acknowledgement: its arguments. */
    const ask = (socket, event, ...args) => within(new Promise((resolve) => {
      socket.emit(event, ...args, (...answer) => resolve(answer));
    }), `the answer to "${event}"`);
    const first = async (...question) => (await ask(...question))[0];

    /** What the server noted of the end of a socket, asked by another. */
    async function end(id) {
      const witness = await today.connect();
      const log = await eventually(() => call(witness, 'log', id), (entries) => entries.length === 2, `the end of ${id}`);
      assert.deepEqual(log.map(({ ev }) => ev), ['disconnecting', 'disconnect']);
      assert.equal(log[0].reason, log[1].reason);
      return log[0].reason;
    }

    for (const [way, options] of Object.entries(WAYS)) {
      describe(way, () => {
        test('it is in the main namespace at once, and its id is the session\'s', async () => {
          const socket = start('/', options);
          const packets = collect(socket.io, 'packet');
          await next(socket, 'connect');
          assert.equal(packets.seen.length, 1);
          assert.equal(socket.id, socket.io.engine.id);
          assert.deepEqual((await first(socket, 'who-am-i')).auth, {});
        });

        test('events and acknowledgements with any arguments, text and bytes', async () => {
          const socket = await connect('/', options);
          const parts = Array.from({ length: 10 }, (_, i) => bytes(i * 1000, i));
          const answer = next(socket, 'echo');
          socket.emit('echo', 1, TEXTS, parts, null, { three: [3] });
          const [one, texts, received, nothing, object] = await answer;
          assert.deepEqual([one, texts, nothing, object], [1, TEXTS, null, { three: [3] }]);
          received.forEach((part, i) => assert.ok(parts[i].equals(Buffer.from(part)), `attachment ${i}`));

          assert.deepEqual(await ask(socket, 'echo-ack'), []);
          assert.deepEqual(await ask(socket, 'echo-ack', 1, 'a', null, [{}]), [1, 'a', null, [{}]]);
          const [text, { part }] = await ask(socket, 'echo-ack', 'x', { part: new Uint8Array(bytes(70_000)).buffer });
          assert.equal(text, 'x');
          assert.ok(bytes(70_000).equals(Buffer.from(part)));
        });

        test('the server asks, and the client answers with text and bytes', async () => {
          const socket = await connect('/', options);
          socket.on('sum', (a, b, answer) => answer(a + b));
          assert.deepEqual(await first(socket, 'ask', 'sum', [1, 2], 10_000), { error: null, res: [3] });
          socket.on('reverse', (data, answer) => answer({ back: Buffer.from(data).reverse() }, bytes(10)));
          const { error, res: [{ back }, ten] } = await first(socket, 'ask', 'reverse', [bytes(3000)], 10_000);
          assert.equal(error, null);
          assert.ok(bytes(3000).reverse().equals(Buffer.from(back)));
          assert.ok(bytes(10).equals(Buffer.from(ten)));
        });

        test('many binary events keep their order and their attachments', async () => {
          const socket = await connect('/', options);
          const arrivals = collect(socket, 'burst-bin');
          socket.emit('burst-bin', 300, 2000);
          (await arrivals.until(300)).forEach(([i, data], at) => {
            assert.equal(i, at);
            assert.ok(Buffer.alloc(2000, i & 255).equals(Buffer.from(data)), `burst ${i}`);
          });
        });

        test('a namespace\'s query is its auth, and the id has the namespace before it', async () => {
          const socket = await connect('/', options);
          const chat = socket.io.socket('/chat', { query: { token: 'a b&c=ü😀', 'empty': '' } });
          const other = socket.io.socket('/other');
          await Promise.all([next(chat, 'connect'), next(other, 'connect')]);
          assert.equal(chat.id, `/chat#${socket.id}`);
          assert.deepEqual((await first(chat, 'who-am-i')).auth, { token: 'a b&c=ü😀', empty: '' });
          assert.deepEqual((await first(other, 'who-am-i')).auth, {});
          // Each is told what is its own, bytes included.
          for (const [n, one] of [socket, chat, other].entries()) {
            assert.ok(bytes(9, n).equals(Buffer.from(await first(one, 'echo-ack', bytes(9, n)))));
          }
        });

        test('a namespace that does not exist is refused, by its message', async () => {
          const socket = await connect('/', options);
          const nowhere = socket.io.socket('/nowhere', { query: { a: 1 } });
          // What Socket.IO 2 said, and its clients expect. In Node's server of today this one refusal is an object, unlike those of middleware.
          const why = 'Invalid namespace';
          assert.deepEqual(await next(nowhere, 'error'), [isReference ? { message: why } : why]);
          assert.equal(nowhere.connected, false);
          assert.deepEqual(await ask(socket, 'echo-ack', 'unharmed'), ['unharmed']);
        });

        test('broadcasts with bytes between it and clients of today, and to its id', async () => {
          for (const namespace of ['/', '/chat']) {
            const [old, older] = await Promise.all([connect(namespace, options), connect(namespace, options)]);
            const young = await today.connect(namespace, { transports: ['websocket'] });
            const all = [old, older, young];
            for (const socket of all) await first(socket, 'join', 'hall');
            const data = { deep: [bytes(500), 'ü😀', bytes(0)] };
            for (const from of all) {
              const heard = all.map((socket) => collect(socket, 'said'));
              from.emit('emit-op', { from: 'socket', to: ['hall'], event: 'said', args: ['it', data] });
              for (const [n, socket] of all.entries()) {
                if (socket === from) continue;
                const [[it, { deep }]] = await heard[n].until(1);
                assert.deepEqual([it, ...deep.map(plain)], ['it', ...data.deep.map(plain)]);
              }
              await Promise.all(all.map((socket) => first(socket, 'rooms')));
              assert.deepEqual(heard.map(({ seen }) => seen.length), all.map((socket) => (socket === from ? 0 : 1)));
              for (const socket of all) socket.off('said');
            }
            // What each believes to be its id brings it what is addressed so, and nobody else.
            for (const to of all) {
              const heard = all.map((socket) => collect(socket, 'private'));
              await first(young, 'emit-op', { from: 'nsp', to: [to.id], event: 'private', args: [bytes(5)] });
              await heard[all.indexOf(to)].until(1);
              await Promise.all(all.map((socket) => first(socket, 'rooms')));
              assert.deepEqual(heard.map(({ seen }) => seen.length), all.map((socket) => (socket === to ? 1 : 0)));
              for (const socket of all) socket.off('private');
            }
          }
        });

        test('every way to part, and its reason on both sides', async () => {
          const leaving = async (act) => {
            const socket = await connect('/chat', options);
            const { id } = await first(socket, 'who-am-i');
            const parted = next(socket, 'disconnect');
            act(socket);
            return [(await parted)[0], await end(id)];
          };
          assert.deepEqual(await leaving((socket) => socket.emit('disconnect-me', false)), [
            'io server disconnect', 'server namespace disconnect',
          ]);
          assert.deepEqual(await leaving((socket) => socket.emit('disconnect-me', true)), [
            'io server disconnect', 'server namespace disconnect',
          ]);
          // The client tells its namespace, and then closes: it waits for neither.
          const [mine, theirs] = await leaving((socket) => socket.disconnect());
          assert.equal(mine, 'io client disconnect');
          assert.match(theirs, /^(client namespace disconnect|transport close)$/);
          assert.deepEqual(await leaving((socket) => socket.io.engine.close()), ['forced close', 'transport close']);
          if (options.transports?.[0] === 'websocket') {
            assert.deepEqual(await leaving((socket) => socket.io.engine.transport.ws.terminate()), [
              'transport close', 'transport close',
            ]);
          }
        });

        test('one namespace is left, and the others go on', async () => {
          const socket = await connect('/', options);
          const chat = socket.io.socket('/chat');
          await next(chat, 'connect');
          const { id } = await first(chat, 'who-am-i');
          chat.disconnect();
          assert.equal(await end(id), 'client namespace disconnect');
          assert.deepEqual(await ask(socket, 'echo-ack', 'unharmed'), ['unharmed']);
          chat.connect();
          await next(chat, 'connect');
          assert.deepEqual(await ask(chat, 'echo-ack', 'again'), ['again']);
        });

        test('it comes back by itself, into its namespaces', async () => {
          const socket = await connect('/', { ...options, reconnection: true, reconnectionDelay: 10 });
          const chat = socket.io.socket('/chat', { query: { token: 'abc' } });
          await next(chat, 'connect');
          await first(chat, 'join', 'hall');
          const before = chat.id;
          const back = Promise.all([socket, chat].map((one) => next(one, 'connect')));
          socket.io.engine.close();
          await back;
          assert.notEqual(chat.id, before);
          assert.deepEqual((await first(chat, 'who-am-i')).auth, { token: 'abc' });
          assert.ok(!(await first(chat, 'rooms')).includes('hall'));
          assert.deepEqual(await ask(socket, 'echo-ack', 'again'), ['again']);
        });
      });
    }

    test('the server ends, and another one takes its place: they come back', async () => {
      let running = await startServer('interop', { args: ['--allow-eio3', '--cores', cores] });
      try {
        const sockets = await Promise.all(Object.values(WAYS).map((options) => (
          connect('/', { ...options, reconnection: true, reconnectionDelay: 50, reconnectionDelayMax: 200 }, running)
        )));
        const reasons = Promise.all(sockets.map((socket) => next(socket, 'disconnect')));
        const back = Promise.all(sockets.map((socket) => new Promise((resolve) => { socket.once('reconnect', resolve); })));
        await running.stop();
        // A poll may be cut off as well as answered with a close packet.
        for (const [reason] of await reasons) assert.match(reason, /^transport (close|error)$/);
        running = await startServer('interop', { args: ['--allow-eio3', '--cores', cores], port: running.port });
        await within(back, 'all are back');
        for (const socket of sockets) assert.deepEqual(await ask(socket, 'echo-ack', 'again'), ['again']);
      } finally {
        for (const socket of open.splice(0)) socket.io.close();
        await running.stop();
      }
    });

    test('silent clients are gone, with "ping timeout"', async () => {
      const strict = await startServer('interop', {
        args: ['--allow-eio3', '--cores', cores, '--ping-interval', '200', '--ping-timeout', '400'],
      });
      const witnesses = new Clients(strict);
      try {
        const witness = await witnesses.connect();
        await Promise.all(Object.values(WAYS).filter(noticesSilence).map(async (options) => {
          const socket = await connect('/', options, strict);
          if (!options.transports) await next(socket.io.engine, 'upgrade');
          const { id } = await first(socket, 'who-am-i');
          silence(socket.io.engine);
          assert.deepEqual(await next(socket, 'disconnect'), ['transport close']);
          const log = await eventually(() => call(witness, 'log', id), (entries) => entries.length === 2, 'its end');
          assert.equal(log[0].reason, 'ping timeout');
        }));
      } finally {
        witnesses.close();
        await strict.stop();
      }
    });

    test('50 clients × 200 messages each way across an upgrade', async () => {
      const wanted = Array.from({ length: 200 }, (_, number) => number);
      const carried = { polling: 0, websocket: 0 };
      await Promise.all(Array.from({ length: 50 }, async () => {
        const socket = await connect('/', { transportOptions: { websocket: { agent: late } } });
        const heard = [];
        const all = new Promise((resolve, reject) => {
          socket.on('echo', (number, data) => {
            heard.push(Buffer.from(data)[0] === (number & 255) ? number : `bytes of ${number}`);
            carried[socket.io.engine.transport.name] += 1;
            if (heard.length === wanted.length) resolve();
          });
          socket.once('disconnect', (reason) => reject(new Error(`disconnected: ${reason} after ${heard.length}`)));
        });
        for (const number of wanted) {
          socket.emit('echo', number, Buffer.alloc(20, number));
          // Some at once, so that payloads of several packets go over.
          if (number % 5 === 4) await sleep(TALK_MS / 40);
        }
        await within(all, 'all echoes', 60_000);
        // Nothing follows: what was doubled would come before the answer to this.
        await first(socket, 'rooms');
        assert.deepEqual(heard, wanted);
        await eventually(() => socket.io.engine.transport.name, (name) => name === 'websocket', 'upgraded');
      }));
      assert.ok(carried.polling >= 100 && carried.websocket >= 100, `carried by ${JSON.stringify(carried)}`);
    });
  });
}

describe('where they are not allowed', () => {
  for (const [name, path] of [['engine', '/engine.io'], ['interop', '/socket.io']]) {
    test(`${path}: code 5`, async () => {
      const server = await startServer(name);
      try {
        for (const transports of [['polling'], ['websocket']]) {
          const session = engine3(server.url, { path, transports });
          const [error] = await next(session, 'error');
          assert.equal(error.type, 'TransportError');
          session.close();
          const answer = await fetch(`${server.url}${path}/?EIO=3&transport=${transports[0]}`);
          assert.equal(answer.status, 400);
          if (transports[0] === 'polling') assert.deepEqual(await answer.json(), UNSUPPORTED);
        }
      } finally {
        await server.stop();
      }
    });
  }
});
