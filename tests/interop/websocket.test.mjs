// Plain WebSocket at /echo, seen by npm's ws.

import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import WebSocket from 'ws';
import { bytes, next, startServer, within } from './harness.mjs';

const MIB = 1024 * 1024;
const MESSAGE_MAX = 16 * MIB;

let server;
const open = [];

before(async () => { server = await startServer('lobby'); });
afterEach(() => open.splice(0).forEach((socket) => socket.terminate()));
after(() => server?.stop());

async function connect(options = {}) {
  const socket = new WebSocket(server.ws('/echo'), { perMessageDeflate: false, ...options });
  socket.on('error', () => {});
  open.push(socket);
  await next(socket, 'open');
  return socket;
}

async function echoed(socket, data) {
  const answer = next(socket, 'message');
  socket.send(data);
  return answer;
}

async function closed(socket) {
  const [code, reason] = await next(socket, 'close');
  return { code, reason: reason.toString() };
}

for (const size of [0, 1, 125, 126, 127, 65_535, 65_536, MIB, MESSAGE_MAX]) {
  test(`a message of ${size} bytes comes back as it was, binary and text`, async () => {
    const socket = await connect();
    const [data, binary] = await echoed(socket, bytes(size));
    assert.equal(binary, true);
    assert.ok(data.equals(bytes(size)), 'the same bytes');
    const text = bytes(size).toString('latin1').replace(/[^ -~]/g, 'x');
    const [answer, isBinary] = await echoed(socket, text);
    assert.equal(isBinary, false);
    assert.ok(answer.equals(Buffer.from(text)), 'the same text');
  });
}

test('one byte more than the limit: 1009, in one frame and in fragments', async () => {
  const whole = await connect();
  whole.send(bytes(MESSAGE_MAX + 1));
  assert.equal((await closed(whole)).code, 1009);

  const parts = await connect();
  parts.send(bytes(MESSAGE_MAX), { fin: false });
  parts.send(bytes(1), { fin: true });
  assert.equal((await closed(parts)).code, 1009);
});

test('--max-message moves the limit', async () => {
  const small = await startServer('lobby', { args: ['--max-message', '1000'] });
  try {
    const socket = new WebSocket(small.ws('/echo'));
    await next(socket, 'open');
    const [data] = await echoed(socket, bytes(1000));
    assert.ok(data.equals(bytes(1000)));
    socket.send(bytes(1001));
    assert.equal((await closed(socket)).code, 1009);
  } finally {
    await small.stop();
  }
});

test('text of every plane comes back, whole and cut inside a character', async () => {
  const socket = await connect();
  const text = 'aé世😀\u0000\uFEFF\u{10FFFF}';
  assert.equal((await echoed(socket, text))[0].toString(), text);
  const raw = Buffer.from(text);
  for (let cut = 0; cut <= raw.length; cut += 1) {
    const answer = next(socket, 'message');
    socket.send(raw.subarray(0, cut), { binary: false, fin: false });
    socket.send(raw.subarray(cut), { binary: false, fin: true });
    const [data, binary] = await answer;
    assert.equal(binary, false);
    assert.equal(data.toString(), text, `cut at ${cut}`);
  }
});

test('invalid text: 1007', async () => {
  const socket = await connect();
  socket.send(Buffer.from([0x61, 0xc0, 0xaf]), { binary: false });
  assert.equal((await closed(socket)).code, 1007);
});

test('a message in many fragments, empty ones too, with pings between them', async () => {
  const socket = await connect();
  const answer = next(socket, 'message');
  const pongs = [];
  socket.on('pong', (payload) => pongs.push(payload.toString()));
  const parts = Array.from({ length: 100 }, (_, i) => bytes(i % 7 === 0 ? 0 : i * 10, i));
  parts.forEach((part, i) => {
    socket.send(part, { fin: i === parts.length - 1 });
    if (i % 10 === 0) socket.ping(`ping ${i}`);
  });
  const [data, binary] = await answer;
  assert.equal(binary, true);
  assert.ok(data.equals(Buffer.concat(parts)));
  // RFC 6455 §5.5.3: pongs for pings already overtaken by a newer one may be left out, the last one may not.
  assert.equal(pongs.at(-1), 'ping 90');
});

test('ping is answered by pong with the same payload', async () => {
  const socket = await connect();
  for (const payload of [Buffer.alloc(0), bytes(1), bytes(125)]) {
    const answer = next(socket, 'pong');
    socket.ping(payload);
    assert.ok((await answer)[0].equals(payload));
  }
});

test('many messages at once come back in order', async () => {
  const socket = await connect();
  const count = 5000;
  const answers = [];
  const all = new Promise((resolve) => {
    socket.on('message', (data) => { if (answers.push(data.toString()) === count) resolve(); });
  });
  for (let i = 0; i < count; i += 1) socket.send(`${i}:${'x'.repeat(i % 200)}`);
  await within(all, `${count} echoes`);
  answers.forEach((text, i) => assert.equal(text, `${i}:${'x'.repeat(i % 200)}`));
});

test('a big message does not let a small one of the same client pass', async () => {
  const socket = await connect();
  const order = [];
  const all = new Promise((resolve) => {
    socket.on('message', (data) => { if (order.push(data.length) === 4) resolve(); });
  });
  for (const size of [4 * MIB, 1, 2 * MIB, 2]) socket.send(bytes(size));
  await within(all, 'four echoes');
  assert.deepEqual(order, [4 * MIB, 1, 2 * MIB, 2]);
});

test('close codes are echoed', async () => {
  for (const [code, reason] of [[1000, ''], [1000, 'bye'], [1001, 'going'], [3000, 'ü'], [4999, 'r'.repeat(123)]]) {
    const socket = await connect();
    const end = closed(socket);
    socket.close(code, reason);
    assert.equal((await end).code, code);
  }
  const silent = await connect();
  const end = closed(silent);
  silent.close();
  assert.equal((await end).code, 1005, 'a close without a code is answered without one');
});

test('what was sent before a close is echoed before it', async () => {
  const socket = await connect();
  const answer = next(socket, 'message');
  const end = closed(socket);
  socket.send(bytes(100_000));
  socket.close(1000);
  assert.ok((await answer)[0].equals(bytes(100_000)));
  assert.equal((await end).code, 1000);
});

test('protocol errors: 1002', async () => {
  const frames = {
    'unmasked frame': [0x81, 0x01, 0x61],
    'reserved bit': [0xc1, 0x80, 0, 0, 0, 0],
    'reserved opcode': [0x83, 0x80, 0, 0, 0, 0],
    'continuation of nothing': [0x80, 0x80, 0, 0, 0, 0],
    'fragmented ping': [0x09, 0x80, 0, 0, 0, 0],
    'close with one byte': [0x88, 0x81, 0, 0, 0, 0, 0x03],
    'close with 1005': [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xed],
  };
  for (const [name, frame] of Object.entries(frames)) {
    const socket = await connect();
    socket._socket.write(Buffer.from(frame));
    assert.equal((await closed(socket)).code, 1002, name);
  }
});

test('a client that offers compression is served', async () => {
  const socket = await connect({ perMessageDeflate: true });
  assert.equal((await echoed(socket, 'a'.repeat(100_000)))[0].length, 100_000);
});

test('a route that is not there is 404, and a plain request for /echo is no websocket', async () => {
  const lost = new WebSocket(server.ws('/nowhere'));
  lost.on('error', () => {});
  const [, response] = await next(lost, 'unexpected-response');
  assert.equal(response.statusCode, 404);
  lost.terminate();
  const plain = await fetch(`${server.url}/echo`);
  assert.ok(plain.status >= 400 && plain.status < 500, `status ${plain.status}`);
});

test('fifty connections at once keep their messages apart', async () => {
  const sockets = await Promise.all(Array.from({ length: 50 }, () => connect()));
  await Promise.all(sockets.map(async (socket, i) => {
    for (let round = 0; round < 20; round += 1) {
      const sent = bytes(1 + i * 37 + round * 501, i * 100 + round);
      assert.ok((await echoed(socket, sent))[0].equals(sent), `connection ${i}, round ${round}`);
    }
  }));
});
