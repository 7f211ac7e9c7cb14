#!/usr/bin/env node
// The contract program (`examples/contract.rs`) on npm's own packages, as their documentation has it: the same profiles on the same ports. The
// contract suites must pass against it before they say anything about ours; `compare.mjs` sets the two side by side.
//
//   node node-contract.mjs --base-port P

import http from 'node:http';
import { parseArgs } from 'node:util';
import { instrument } from '@socket.io/admin-ui';
import * as engine from 'engine.io';
import { Server } from 'socket.io';
import msgpack from 'socket.io-msgpack-parser';
import { contract } from './node-contract/program.mjs';
import { plainRoutes } from './node-contract/routes.mjs';
import { clientSuite, clientSuiteGate, protocolSuite } from './node-contract/suites.mjs';

const { values: options } = parseArgs({
  options: {
    'base-port': { type: 'string', default: '3000' },
    cores: { type: 'string' }, // accepted, without a meaning here
  },
});

const nothingHere = (request, response) => response.writeHead(404).end();
const anyOrigin = { cors: { origin: '*' } };
const hurried = { pingInterval: 300, pingTimeout: 200 };
const suite = { ...hurried, maxHttpBufferSize: 1_000_000, ...anyOrigin };

/** Engine.IO by itself: what comes in goes out. */
function engineEcho(more) {
  const web = http.createServer(nothingHere);
  const server = engine.attach(web, { path: '/engine.io', ...suite, ...more });
  server.on('connection', (session) => session.on('message', (data) => session.send(data)));
  return web;
}

/** Socket.IO with these settings and this program. */
function socketIo(program, settings = {}) {
  const web = http.createServer(nothingHere);
  program(new Server(web, settings));
  return web;
}

function withAdmin(io) {
  contract(io);
  const auth = {
    type: 'basic',
    username: 'admin',
    password: '$2a$10$7boGXUTCVO.qI4GR6QWG9.xvwRusuG0NkFidtnXCBepOgvAXP3WYa', // changeit
  };
  instrument(io, { auth, mode: 'development', serverId: 'contract' });
}

const fast = {
  ...hurried,
  upgradeTimeout: 400,
  connectTimeout: 400,
  maxHttpBufferSize: 10_000,
  cookie: true,
  cors: {
    origin: ['http://good.example'],
    methods: ['GET', 'POST'],
    allowedHeaders: ['x-my-header'],
    credentials: true,
    maxAge: 600,
  },
};

const gated = { allowRequest: (request, decide) => contract.gate(request, decide) };

/** By their distance from the base port. */
const profiles = {
  0: () => socketIo(contract, gated),
  1: () => engineEcho({}),
  2: () => socketIo(protocolSuite, { ...suite, connectTimeout: 1000 }),
  3: () => socketIo(clientSuite, { pingInterval: 2000, connectionStateRecovery: {}, allowRequest: clientSuiteGate }),
  4: () => socketIo(contract, { ...gated, ...fast }),
  5: () => socketIo(contract, { ...gated, connectionStateRecovery: { maxDisconnectionDuration: 3000 } }),
  6: () => socketIo(contract, { ...gated, parser: msgpack }),
  7: () => socketIo(contract, { ...gated, allowEIO3: true, ...hurried }),
  8: () => socketIo(contract, { ...gated, perMessageDeflate: { threshold: 1024 } }),
  9: () => socketIo(contract, { ...gated, path: '/rt', serveClient: false, allowUpgrades: false, cleanupEmptyChildNamespaces: true }),
  10: () => socketIo(contract, { ...gated, transports: ['websocket'] }),
  11: () => socketIo(withAdmin, gated),
  12: () => engineEcho({ allowEIO3: true }),
  13: () => socketIo(contract, gated),
  17: plainRoutes,
};

const base = Number(options['base-port']);
await Promise.all(Object.entries(profiles).map(([offset, open]) => new Promise((resolve, reject) => {
  open().once('error', reject).listen(base + Number(offset), '127.0.0.1', resolve);
})));
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(0));
console.log('ready');
