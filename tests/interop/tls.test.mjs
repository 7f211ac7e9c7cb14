// https and wss: the official client, `ws` and Node's own https against the binary with its self-signed certificate.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import https from 'node:https';
import { after, before, describe, test } from 'node:test';
import tls from 'node:tls';
import { WebSocket } from 'ws';
import { bytes, call, Clients, eventually, isReference, next, startServer, within } from './harness.mjs';

describe('TLS', { skip: isReference && 'Node has another' }, () => {
  let server;
  let plain;
  let ca;
  const groups = [];

  /** Clients of one address, closed in the end. */
  function clients(url) {
    const group = new Clients({ url });
    groups.push(group);
    return group;
  }

  /** The certificate that is shown, as PEM. */
  async function shown(port) {
    const socket = tls.connect({ host: 'localhost', port, rejectUnauthorized: false });
    await within(once(socket, 'secureConnect'), 'a handshake');
    const { raw } = socket.getPeerCertificate();
    socket.destroy();
    return `-----BEGIN CERTIFICATE-----\n${raw.toString('base64').match(/.{1,64}/g).join('\n')}\n-----END CERTIFICATE-----\n`;
  }

  before(async () => {
    const args = ['--listen', 'http://127.0.0.1:0', '--tls-self-signed', '--cores', '2'];
    server = await startServer('lobby', { scheme: 'https://', args });
    assert.match(server.url, /^https:/);
    const all = () => server.output.join('\n').match(/http:\/\/127\.0\.0\.1:\d+/);
    [plain] = await eventually(all, (found) => found, 'the other address');
    ca = await shown(server.port);
  });
  after(() => {
    groups.forEach((group) => group.close());
    return server?.stop();
  });

  test('the official client checks the certificate, and talks', async () => {
    const socket = await clients(server.url).connect('/', { ca, transports: ['websocket'] });
    assert.deepEqual(await call(socket, 'join', 'here'), [socket.id, 'here'].sort());
    assert.equal(socket.io.engine.transport.name, 'websocket');
  });

  test('polling first, then the upgrade, from and to every core', async () => {
    const sockets = await clients(server.url).connectMany(20, '/up', { ca, transports: ['polling', 'websocket'] });
    const upgraded = sockets.map(({ io }) => (
      io.engine.transport.name === 'websocket' ? null : within(once(io.engine, 'upgrade'), 'the upgrade')
    ));
    // Talk meanwhile: nothing is lost, doubled or out of order.
    const numbers = Array.from({ length: 100 }, (_, number) => number);
    const talk = sockets.map(async (socket) => {
      for (const number of numbers) assert.equal(await call(socket, 'count', number, bytes(number * 100)), sockets.length - 1);
    });
    const heard = sockets.map((socket) => {
      const next = new Map();
      let total = 0;
      return within(new Promise((resolve, reject) => {
        socket.on('count', (number, payload) => {
          const seen = next.get(number) ?? 0;
          next.set(number, seen + 1);
          if (payload.length !== number * 100) reject(new Error(`message ${number} has ${payload.length} bytes`));
          total += 1;
          if (total === (sockets.length - 1) * numbers.length) resolve(next);
        });
      }), 'all messages', 60_000);
    });
    await Promise.all([...talk, ...upgraded]);
    for (const next of await Promise.all(heard)) numbers.forEach((number) => assert.equal(next.get(number), sockets.length - 1));
    sockets.forEach(({ io }) => assert.equal(io.engine.transport.name, 'websocket'));
  });

  test('polling alone', async () => {
    const group = clients(server.url);
    const [from, to] = await group.connectMany(2, '/poll', { ca, transports: ['polling'] });
    const heard = next(to, 'said');
    const payload = bytes(200_000, 9);
    assert.equal(await call(from, 'said', payload), 1);
    assert.ok(payload.equals((await heard)[0]));
  });

  test('it is refused by clients that do not know it, and taken by those that do not care', async () => {
    const careful = clients(server.url).open('/', { transports: ['websocket'] });
    const [error] = await next(careful, 'connect_error');
    assert.match(String(error.description?.message ?? error.description?.error ?? error), /self.signed|websocket error/);
    await clients(server.url).connect('/', { rejectUnauthorized: false });
  });

  test('clients of https and of http are in one room', async () => {
    const secure = await clients(server.url).connect('/both', { ca });
    const open = await clients(plain).connect('/both');
    for (const [from, to] of [[secure, open], [open, secure]]) {
      const payload = bytes(100_000, 7);
      const heard = next(to, 'said');
      assert.equal(await call(from, 'said', 'hello', payload), 1);
      const [text, binary] = await heard;
      assert.equal(text, 'hello');
      assert.ok(payload.equals(binary));
    }
  });

  test('every version and size', async () => {
    for (const version of ['TLSv1.2', 'TLSv1.3']) {
      const socket = new WebSocket(`${server.ws('/echo')}`, { ca, minVersion: version, maxVersion: version });
      await within(once(socket, 'open'), `open over ${version}`);
      for (const length of [0, 1, 16_383, 16_384, 16_385, 1_000_000]) {
        const payload = bytes(length, 3);
        const heard = within(once(socket, 'message'), `${length} bytes over ${version}`);
        socket.send(payload);
        const [echo] = await heard;
        assert.ok(payload.equals(echo), `${length} bytes over ${version}`);
      }
      socket.close();
      const [code] = await within(once(socket, 'close'), 'close');
      assert.equal(code, 1005);
    }
  });

  test('older versions are refused', async () => {
    // SECLEVEL=0: or Node's own OpenSSL would not try.
    const options = { host: 'localhost', port: server.port, ca, minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' };
    const [error] = await within(once(tls.connect(options), 'error'), 'a refusal');
    // Told by the server's alert, and not found out by Node itself.
    assert.match(error.code, /ALERT/);
  });

  test('the page', async () => {
    const [answer] = await within(once(https.get(`https://localhost:${server.port}/`, { ca }), 'response'), 'an answer');
    assert.equal(answer.statusCode, 200);
    answer.resume();
    await within(once(answer, 'end'), 'the end of the page');
  });

  test('http on the port of https is told so', async () => {
    const answer = await fetch(`http://127.0.0.1:${server.port}/`);
    assert.equal(answer.status, 400);
    assert.match(await answer.text(), /https/);
  });
});
