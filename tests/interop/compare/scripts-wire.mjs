// Scripts at the level of HTTP and packets.

import { io } from 'socket.io-client';
import { poll } from '../contract.mjs';
import { call, eventually } from '../harness.mjs';
import { Poll, Wire } from './log.mjs';

const REQUESTS = {
  'no transport': { query: { transport: '' } },
  'an unknown transport': { query: { transport: 'tobi' } },
  'a transport of JavaScript': { query: { transport: '__proto__' } },
  'an unknown session': { query: { sid: 'nobody' } },
  'POST without a session': { method: 'POST', body: '40' },
  'PUT without a session': { method: 'PUT', body: '40' },
  'websocket without an upgrade': { query: { transport: 'websocket' } },
  'no revision': { query: { EIO: '' } },
  'revision 3': { query: { EIO: '3' } },
  'revision 5': { query: { EIO: '5' } },
  'refused with a message': { query: { reject: 'msg' } },
  'refused without': { query: { reject: 'plain' } },
  'a path below': { path: '/socket.io/x/y' },
  'a path beside': { path: '/socket.io.x/' },
  'no slash': { path: '/socket.io' },
  OPTIONS: { method: 'OPTIONS' },
};

export async function requests(log, url) {
  for (const [name, init] of Object.entries(REQUESTS)) {
    const { status, headers, body } = await poll(url('main'), init);
    const type = status === 404 ? null : headers.get('content-type');
    const told = status === 404 ? null : body;
    log.note(name, { status, type, body: told, every: headers.get('x-every') });
  }
}

const opening = ({ status, headers, body }) => ({
  status,
  body,
  headers: Object.fromEntries(['content-type', 'cache-control', 'set-cookie', 'x-initial', 'x-every', 'access-control-allow-origin', 'vary']
    .map((name) => [name, headers.get(name)])),
});

export async function openings(log, url) {
  for (const [profile, path] of [['main', '/socket.io/'], ['fast', '/socket.io/'], ['eio-suite', '/engine.io/'], ['alt', '/rt/'], ['wsonly', '/socket.io/'], ['eio3', '/socket.io/']]) {
    for (const origin of [undefined, 'http://good.example', 'http://bad.example']) {
      log.note(`${profile}, origin ${origin}`, opening(await poll(url(profile), { path, headers: origin ? { origin } : {} })));
    }
  }
}

const POSTS = {
  'an event': '42["echo","x"]',
  'an event that is answered': '420["echo-ack","x"]',
  'two packets': '420["echo-ack","x"]\x1e421["echo-ack","y"]',
  'an empty body': '',
  'an unknown type': '420["echo-ack","x"]\x1e9\x1e421["echo-ack","y"]',
  'a close packet': '420["echo-ack","x"]\x1e1\x1e421["echo-ack","y"]',
  'a ping': '2',
  'binary that was announced': '451-0["echo-ack",{"_placeholder":true,"num":0}]\x1ebAQID',
};

export async function polls(log, url) {
  for (const [name, body] of Object.entries(POSTS)) {
    const session = await Poll.opened(url('main'));
    const posted = await session.post(body);
    log.note(name, { posted, told: await session.drained() });
  }
  const session = await Poll.opened(url('main'));
  const first = session.get();
  await new Promise((resolve) => { setTimeout(resolve, 50); });
  log.note('two polls at once', [await session.get(), await first, await session.get()]);
  const silent = await Poll.opened(url('main'), null);
  log.note('before the namespace', [await silent.post('40/nowhere,'), await silent.get(), await silent.post('40'), await silent.get()]);
}

/** Each on a session of its own that is in the namespace `/`. */
const PACKETS = {
  'an empty message': ['4'],
  'no arguments': ['42'],
  'an object for arguments': ['42{}'],
  'an empty list': ['42[]'],
  'JSON that ends early': ['42["a"'],
  'JSON and more': ['42["a"]x'],
  'a number for a name': ['421[0,1]'],
  'null for a name': ['42[null]'],
  'a reserved name: connect': ['42["connect"]'],
  'a reserved name: disconnecting': ['42["disconnecting"]'],
  'a reserved name: newListener': ['42["newListener"]'],
  'a name that is not: error': ['42["error"]'],
  'a name of JavaScript': ['42["__proto__","x"]', '42["constructor"]', '42["toString"]'],
  'an unknown acknowledgement': ['4399["x"]'],
  'an acknowledgement without a list': ['430{}'],
  'CONNECT twice': ['40'],
  'CONNECT with a text': ['40/chat,"text"'],
  'CONNECT with a list': ['40/chat,[1]'],
  'CONNECT without a comma': ['40/chat'],
  'CONNECT elsewhere': ['40/nowhere,'],
  'CONNECT elsewhere with a query': ['40/chat?x=1,'],
  'CONNECT_ERROR from the client': ['44{"message":"x"}'],
  'DISCONNECT with data': ['41{"a":1}'],
  'DISCONNECT from elsewhere': ['41/chat,'],
  'an event from elsewhere': ['42/chat,["echo","x"]'],
  'an unknown type': ['47["a"]', '42["echo","x"]'],
  'no digit': ['4x'],
  'binary without a number': ['45["a"]'],
  'binary without attachments': ['450-["a"]'],
  'binary with too many': ['4511-["a"]'],
  'binary that did not come': ['451-["echo",{"_placeholder":true,"num":0}]', '42["echo","x"]'],
  'binary that was not announced': [Buffer.from([1, 2])],
  'a placeholder that is none': ['42["echo",{"_placeholder":true,"num":0}]'],
  'a placeholder out of range': ['451-["echo",{"_placeholder":true,"num":1}]', Buffer.from([1])],
  'a placeholder twice': ['451-["echo",{"_placeholder":true,"num":0},{"_placeholder":true,"num":0}]', Buffer.from([1])],
  'no placeholder': ['451-["echo","x"]', Buffer.from([1])],
  'a lone surrogate': ['42["echo","\\ud800"]'],
  'numbers': ['42["echo",1e3,-0,1.5,12345678901234567890,1e400]'],
  'escapes': ['42["echo","\\u0041\\/\\n","é"]'],
  'members twice': ['42["echo",{"a":1,"a":2}]'],
  'white space': ['42[ "echo" , 1 ] '],
  'a large id': ['429007199254740991["echo-ack","x"]'],
};

/** Of Engine.IO, on a websocket. */
const ENGINE_PACKETS = {
  'open from the client': ['0{}'],
  close: ['1'],
  'ping from the client': ['2'],
  'pong without a ping': ['3'],
  'upgrade again': ['5'],
  noop: ['6'],
  'an unknown type': ['9'],
  'a letter': ['x'],
  'an empty frame': [''],
  'base64 on a websocket': ['451-["echo",{"_placeholder":true,"num":0}]', 'bAQID'],
};

export async function packets(log, url) {
  const witness = io(url('main'), { transports: ['websocket'], forceNew: true });
  try {
    for (const [name, sent] of Object.entries({ ...PACKETS, ...ENGINE_PACKETS })) {
      const wire = await Wire.connected(url('main'));
      wire.send(...sent);
      const told = await wire.outcome();
      const entries = wire.end
        ? await eventually(() => call(witness, 'log', wire.id), (log_) => log_.at(-1).ev === 'disconnect', 'its end')
        : await call(witness, 'log', wire.id);
      // What an error says is for people.
      log.note(name, { told, log: entries.slice(1).map((entry) => (entry.ev === 'error' ? { ev: 'error' } : entry)) });
      wire.socket.terminate();
    }
  } finally {
    witness.disconnect();
  }
}

export async function upgrades(log, url) {
  const PROBES = {
    'as it should be': ['2probe', '5'],
    'no probe': ['5'],
    'a message': ['42["echo","x"]'],
    'another ping': ['2other'],
    binary: [Buffer.from([1])],
  };
  for (const [name, sent] of Object.entries(PROBES)) {
    const session = await Poll.opened(url('main'));
    const probe = new Wire(url('main'), { sid: session.sid });
    await new Promise((resolve) => { probe.socket.once('open', resolve); });
    probe.send(sent[0]);
    if (sent[0] === '2probe') await probe.until(1);
    if (sent[1]) probe.send(sent[1]);
    if (sent.includes('5')) {
      probe.send('420["echo-ack","over"]');
      await probe.until(sent[0] === '2probe' ? 2 : 1);
      log.note(name, { told: probe.packets, polling: await session.get() });
    } else {
      const end = await probe.closed;
      await session.post('420["echo-ack","here"]');
      log.note(name, { told: probe.packets, end, polling: await session.get() });
    }
    probe.socket.terminate();
  }
}
