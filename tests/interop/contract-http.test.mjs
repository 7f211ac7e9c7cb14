// The contract's HTTP level, profile by profile: what a session begins with, who is let in, headers, CORS, cookies, limits and deadlines.

import assert from 'node:assert/strict';
import http from 'node:http';
import { after, before, describe, test } from 'node:test';
import WebSocket from 'ws';
import { openSession, poll, sleep, startContract } from './contract.mjs';
import { eventually, next, within } from './harness.mjs';

let contract;

before(async () => { contract = await startContract(); });
after(() => contract?.stop());

const DEFAULTS = { upgrades: ['websocket'], pingInterval: 25_000, pingTimeout: 20_000, maxPayload: 1_000_000 };
const SUITE = { ...DEFAULTS, pingInterval: 300, pingTimeout: 200 };

/** What the open packet says of each profile. */
const OPENINGS = {
  main: DEFAULTS,
  'eio-suite': SUITE,
  'sio-suite': SUITE,
  'client-suite': { ...DEFAULTS, pingInterval: 2000 },
  fast: { ...SUITE, maxPayload: 10_000 },
  csr: DEFAULTS,
  msgpack: DEFAULTS,
  eio3: SUITE,
  alt: { ...DEFAULTS, upgrades: [] },
  admin: DEFAULTS,
  'eio-v3-suite': SUITE,
  closing: DEFAULTS,
};
const PATHS = { 'eio-suite': '/engine.io/', 'eio-v3-suite': '/engine.io/', alt: '/rt/' };

/** A websocket by itself, with the head of the server's answer. */
async function webSocket(url, options) {
  const socket = new WebSocket(url, options);
  const messages = [];
  socket.on('message', (data) => messages.push(data.toString()));
  socket.on('error', () => {});
  const [response] = await next(socket, 'upgrade');
  return { socket, messages, headers: response.headers };
}

const first = ({ messages }) => eventually(() => messages[0], (message) => message !== undefined, 'a first message');

/** A request as http.request has it, since fetch sends no forbidden headers. */
function request(url, { method = 'GET', headers = {} } = {}) {
  return new Promise((resolve, reject) => {
    http.request(url, { method, headers, agent: false }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text) => { body += text; }).on('end', () => {
        resolve({ status: response.statusCode, headers: response.headers, body });
      });
    }).on('error', reject).end();
  });
}

describe('what a session begins with', () => {
  for (const [profile, expected] of Object.entries(OPENINGS)) {
    test(`${profile}, polling`, async () => {
      const { sid, ...rest } = await openSession(contract.url(profile), { path: PATHS[profile] });
      assert.match(sid, /^[\w-]+$/);
      assert.deepEqual(rest, expected);
    });
  }

  test('wsonly: a websocket and nothing else', async () => {
    const refused = await poll(contract.url('wsonly'));
    assert.equal(refused.status, 400);
    assert.deepEqual(JSON.parse(refused.body), { code: 0, message: 'Transport unknown' });
    const opened = await webSocket(contract.ws('wsonly', '/socket.io/?EIO=4&transport=websocket'));
    const { sid, ...rest } = JSON.parse((await first(opened)).slice(1));
    assert.deepEqual(rest, { ...DEFAULTS, upgrades: [] });
    opened.socket.terminate();
  });

  for (const profile of ['main', 'fast', 'wsonly']) {
    test(`${profile}: what is not Socket.IO's is not found`, async () => {
      for (const path of ['/', '/favicon.ico', '/socket.io', '/engine.io/?EIO=4&transport=polling']) {
        assert.equal((await request(contract.url(profile) + path)).status, 404, path);
      }
    });
  }

  test('revision 3 is served by eio3 alone', async () => {
    const refused = await poll(contract.url('main'), { query: { EIO: '3' } });
    assert.equal(refused.status, 400);
    assert.deepEqual(JSON.parse(refused.body), { code: 5, message: 'Unsupported protocol version' });
    const served = await poll(contract.url('eio3'), { query: { EIO: '3', b64: '1' } });
    assert.equal(served.status, 200);
    assert.match(served.body, /^\d+:0\{/);
  });

  test('the client script is served, but for alt', async () => {
    const script = await request(`${contract.url('main')}/socket.io/socket.io.js`);
    assert.equal(script.status, 200);
    assert.match(script.headers['content-type'], /^application\/javascript/);
    for (const path of ['/rt/socket.io.js', '/rt/nothing.js']) {
      const refused = await request(contract.url('alt') + path);
      assert.equal(refused.status, 400, path);
      assert.equal(JSON.parse(refused.body).code, 0, path);
    }
    assert.equal((await request(`${contract.url('alt')}/socket.io/?EIO=4&transport=polling`)).status, 404);
  });
});

describe('who is let in (allowRequest)', () => {
  const REFUSALS = [['msg', 'no way'], ['plain', 'Forbidden']];
  for (const [reject, message] of REFUSALS) {
    test(`reject=${reject}, polling`, async () => {
      const refused = await poll(contract.url('main'), { query: { reject } });
      assert.equal(refused.status, 403);
      assert.deepEqual(JSON.parse(refused.body), { code: 4, message });
    });

    test(`reject=${reject}, websocket`, async () => {
      const socket = new WebSocket(contract.ws('main', `/socket.io/?EIO=4&transport=websocket&reject=${reject}`));
      socket.on('error', () => {});
      const [, response] = await next(socket, 'unexpected-response');
      assert.equal(response.statusCode, 400);
      let body = '';
      for await (const chunk of response) body += chunk;
      assert.equal(body, message);
    });
  }

  test('it is asked for handshakes, not within a session', async () => {
    const { sid } = await openSession(contract.url('main'));
    const told = await poll(contract.url('main'), { query: { sid, reject: 'msg' }, method: 'POST', body: '40' });
    assert.deepEqual([told.status, told.body], [200, 'ok']);
  });

  test('client-suite: every handshake is delayed', async () => {
    const began = performance.now();
    await openSession(contract.url('client-suite'));
    assert.ok(performance.now() - began >= 9);
  });
});

describe('header hooks', () => {
  const marks = (headers) => ['x-initial', 'x-every'].map((name) => (headers.get ? headers.get(name) : headers[name]) ?? null);

  test('polling: x-initial on the first answer, x-every on all', async () => {
    const url = contract.url('main');
    const opened = await poll(url);
    assert.deepEqual(marks(opened.headers), ['1', '1']);
    const { sid } = JSON.parse(opened.body.slice(1));
    assert.deepEqual(marks((await poll(url, { query: { sid }, method: 'POST', body: '40' })).headers), [null, '1']);
    const polled = await poll(url, { query: { sid } });
    assert.match(polled.body, /^40\{"sid":/);
    assert.deepEqual(marks(polled.headers), [null, '1']);
  });

  test('the 101 of a session on websocket alone: both', async () => {
    const opened = await webSocket(contract.ws('main', '/socket.io/?EIO=4&transport=websocket'));
    assert.deepEqual(marks(opened.headers), ['1', '1']);
    opened.socket.terminate();
  });

  test('the 101 of an upgrade: x-every', async () => {
    const { sid } = await openSession(contract.url('main'));
    const probe = await webSocket(contract.ws('main', `/socket.io/?EIO=4&transport=websocket&sid=${sid}`));
    assert.deepEqual(marks(probe.headers), [null, '1']);
    probe.socket.terminate();
  });

  test('not on an error', async () => {
    assert.deepEqual(marks((await poll(contract.url('main'), { query: { reject: 'msg' } })).headers), [null, null]);
  });
});

describe('CORS and cookies', () => {
  const handshake = (profile) => `${contract.url(profile)}${PATHS[profile] ?? '/socket.io/'}?EIO=4&transport=polling`;
  const corsOf = ({ headers }) => Object.fromEntries(Object.entries(headers).filter(([name]) => name.startsWith('access-control-')));

  test('main: nothing is said of other origins, and no cookie is set', async () => {
    const answer = await request(handshake('main'), { headers: { origin: 'http://good.example' } });
    assert.equal(answer.status, 200);
    assert.deepEqual(corsOf(answer), {});
    assert.equal(answer.headers['set-cookie'], undefined);
  });

  for (const profile of ['eio-suite', 'sio-suite', 'eio-v3-suite']) {
    test(`${profile}: any origin`, async () => {
      const answer = await request(handshake(profile), { headers: { origin: 'http://any.example' } });
      assert.equal(answer.headers['access-control-allow-origin'], '*');
    });
  }

  test('fast: an origin of the list', async () => {
    const answer = await request(handshake('fast'), { headers: { origin: 'http://good.example' } });
    assert.deepEqual(corsOf(answer), {
      'access-control-allow-origin': 'http://good.example',
      'access-control-allow-credentials': 'true',
    });
    assert.equal(answer.headers.vary, 'Origin');
  });

  test('fast: another origin is served, and its browser told nothing', async () => {
    const answer = await request(handshake('fast'), { headers: { origin: 'http://bad.example' } });
    assert.equal(answer.status, 200);
    assert.equal(answer.headers['access-control-allow-origin'], undefined);
  });

  test('fast: a preflight', async () => {
    const headers = { origin: 'http://good.example', 'access-control-request-method': 'POST', 'access-control-request-headers': 'x-other' };
    const answer = await request(handshake('fast'), { method: 'OPTIONS', headers });
    assert.equal(answer.status, 204);
    assert.deepEqual(corsOf(answer), {
      'access-control-allow-origin': 'http://good.example',
      'access-control-allow-credentials': 'true',
      'access-control-allow-methods': 'GET,POST',
      'access-control-allow-headers': 'x-my-header',
      'access-control-max-age': '600',
    });
  });

  test('fast: the cookie, on the first answer of a session on polling alone', async () => {
    const opened = await request(handshake('fast'));
    const { sid } = JSON.parse(opened.body.slice(1));
    assert.deepEqual(opened.headers['set-cookie'], [`io=${sid}; Path=/; HttpOnly; SameSite=Lax`]);
    const told = await poll(contract.url('fast'), { query: { sid }, method: 'POST', body: '40' });
    assert.equal(told.headers.get('set-cookie'), null);
    const alone = await webSocket(contract.ws('fast', '/socket.io/?EIO=4&transport=websocket'));
    assert.equal(alone.headers['set-cookie'], undefined);
    alone.socket.terminate();
  });
});

describe('limits and deadlines of fast', () => {
  test('a body of maxHttpBufferSize passes, a longer one is refused', async () => {
    const url = contract.url('fast');
    const post = async (body) => {
      const { sid } = await openSession(url);
      return (await poll(url, { query: { sid }, method: 'POST', body })).status;
    };
    const event = (length) => `40\x1e42["x","${'y'.repeat(length - '40\x1e42["x",""]'.length)}"]`;
    assert.equal(await post(event(10_000)), 200);
    assert.equal(await post(event(10_001)), 413);
  });

  test('a longer message on a websocket ends it with 1009', async () => {
    const { socket } = await webSocket(contract.ws('fast', '/socket.io/?EIO=4&transport=websocket'));
    socket.send('4'.repeat(10_001));
    assert.equal((await next(socket, 'close'))[0], 1009);
  });

  test('a client that is in no namespace is put out (connectTimeout), one that is stays', async () => {
    const enter = async (hello) => {
      const { socket } = await webSocket(contract.ws('fast', '/socket.io/?EIO=4&transport=websocket'));
      socket.on('message', (data) => { if (data.toString() === '2') socket.send('3'); });
      if (hello) socket.send(hello);
      return socket;
    };
    const [silent, refused, member] = await Promise.all([enter(), enter('40/nowhere,'), enter('40')]);
    await Promise.all([silent, refused].map((socket) => next(socket, 'close')));
    await sleep(300);
    assert.equal(member.readyState, WebSocket.OPEN);
    member.terminate();
  });

  test('who does not answer pings is put out (pingTimeout)', async () => {
    const mute = await webSocket(contract.ws('fast', '/socket.io/?EIO=4&transport=websocket'));
    mute.socket.send('40');
    const began = performance.now();
    await next(mute.socket, 'close');
    assert.ok(performance.now() - began >= 400);
    assert.ok(mute.messages.includes('2'));
  });

  test('a probe that dawdles is closed (upgradeTimeout), its session is not', async () => {
    const url = contract.url('fast');
    const { sid } = await openSession(url);
    await poll(url, { query: { sid }, method: 'POST', body: '40' });
    const pump = pollUntil(url, sid, '430["here"]');
    const probe = await webSocket(contract.ws('fast', `/socket.io/?EIO=4&transport=websocket&sid=${sid}`));
    probe.socket.send('2probe');
    assert.equal(await first(probe), '3probe');
    await next(probe.socket, 'close');
    await poll(url, { query: { sid }, method: 'POST', body: '420["echo-ack","here"]' });
    await pump;
  });

  /** Polls, and answers pings, until the packet came. */
  async function pollUntil(url, sid, packet) {
    const run = async () => {
      for (;;) {
        const { status, body } = await poll(url, { query: { sid } });
        assert.equal(status, 200, body);
        const packets = body.split('\x1e');
        if (packets.includes(packet)) return;
        if (packets.includes('2')) await poll(url, { query: { sid }, method: 'POST', body: '3' });
      }
    };
    return within(run(), 'the packet');
  }
});

describe('raw', () => {
  const open = async (route, ...options) => {
    const socket = new WebSocket(contract.ws('raw', route), ...options);
    await next(socket, 'open');
    return socket;
  };
  const received = async (socket) => {
    const [data, binary] = await next(socket, 'message');
    return binary ? data : data.toString();
  };

  test('/echo: text and binary', async () => {
    const socket = await open('/echo');
    for (const message of ['text', '', 'é\u{1F600}', Buffer.from([0, 255, 1])]) {
      const answer = received(socket);
      socket.send(message);
      assert.deepEqual(await answer, message);
    }
    socket.terminate();
  });

  test('/echo: 16 MiB and no more', async () => {
    const socket = await open('/echo');
    const most = Buffer.alloc(16 * 1024 * 1024, 7);
    const answer = received(socket);
    socket.send(most);
    assert.ok((await answer).equals(most));
    const closed = next(socket, 'close');
    socket.on('error', () => {});
    socket.send(Buffer.alloc(16 * 1024 * 1024 + 1));
    assert.equal((await closed)[0], 1009);
  });

  test('/broadcast: to all, the sender among them', async () => {
    const sockets = await Promise.all([open('/broadcast'), open('/broadcast'), open('/broadcast')]);
    // Each says something of its own first, so that the server has all of them.
    for (const [i, socket] of sockets.entries()) {
      const arrivals = Promise.all(sockets.map(received));
      socket.send(`from ${i}`);
      assert.deepEqual(await arrivals, sockets.map(() => `from ${i}`));
    }
    const arrivals = Promise.all(sockets.map(received));
    sockets[1].send(Buffer.from([1, 2]));
    assert.deepEqual(await arrivals, sockets.map(() => Buffer.from([1, 2])));
    for (const socket of sockets) socket.terminate();
  });

  test('/sub: a subprotocol that is offered, or none', async () => {
    for (const [asked, chosen] of [[['superchat', 'chat'], 'superchat'], [['other', 'chat'], 'chat']]) {
      const socket = await open('/sub', asked);
      assert.equal(socket.protocol, chosen);
      const answer = received(socket);
      socket.send('x');
      assert.equal(await answer, 'x');
      socket.terminate();
    }
    const { headers, socket } = await webSocket(contract.ws('raw', '/sub'));
    assert.equal(headers['sec-websocket-protocol'], undefined);
    socket.terminate();
  });

  test('/origin: one origin is let in', async () => {
    const socket = await open('/origin', { origin: 'https://good.example' });
    const answer = received(socket);
    socket.send('x');
    assert.equal(await answer, 'x');
    socket.terminate();
    for (const options of [{ origin: 'https://bad.example' }, {}]) {
      const refused = new WebSocket(contract.ws('raw', '/origin'), options);
      refused.on('error', () => {});
      const [, response] = await next(refused, 'unexpected-response');
      assert.equal(response.statusCode, 403);
      refused.terminate();
    }
  });

  test('nothing else is there', async () => {
    assert.equal((await request(`${contract.url('raw')}/socket.io/?EIO=4&transport=polling`)).status, 404);
  });
});
