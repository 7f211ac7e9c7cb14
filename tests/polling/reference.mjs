#!/usr/bin/env node
// The program of bed.rs on Node's own packages. The argument is a JSON object with the options; prints its address.

import http from 'node:http';
import { createRequire } from 'node:module';

const require = createRequire(new URL('../interop/package.json', import.meta.url));
const engine = require('engine.io');
const { Server } = require('socket.io');

const { options, headersTimeout, keepAliveTimeout, gate, hooks, names } = JSON.parse(process.argv[2]);
if (!options.cors) delete options.cors;
if (options.initialPacket === null) delete options.initialPacket;
const parameter = (request, name) => new URL(request.url, 'http://x').searchParams.get(name);
if (gate) {
  options.allowRequest = (request, done) => {
    const message = parameter(request, 'forbid');
    if (message === null) done(null, true);
    else done(message || undefined, false);
  };
}

const web = http.createServer({ headersTimeout, keepAliveTimeout, connectionsCheckingInterval: 100 }, (request, response) => {
  if (request.url !== '/') return response.writeHead(404).end();
  return response.writeHead(200, { 'content-type': 'text/plain' }).end('hello');
});

const log = [];
const io = new Server(web, options);
const raw = engine.attach(web, { ...options, path: '/engine.io' });

if (hooks) {
  for (const server of [io.engine, raw]) {
    for (const [event, name] of [['initial_headers', 'X-Initial'], ['headers', 'X-Every']]) {
      server.on(event, (headers, request) => { headers[name] = parameter(request, 'tag') ?? 'none'; });
    }
  }
}

if (names) raw.generateId = (request) => parameter(request, 'name') ?? Math.random().toString(36);

raw.on('connection_error', ({ req, code }) => log.push(`refused-${parameter(req, 'who')} ${code}`));

raw.on('connection', (socket) => {
  const who = parameter(socket.request, 'who');
  socket.on('close', (reason) => log.push(`${who} ${reason}`));
  socket.on('message', (message) => {
    const [order, number] = typeof message === 'string' ? message.split(' ') : [];
    if (order === 'burst') for (let i = 0; i < Number(number); i += 1) socket.send(String(i));
    else if (order === 'big') socket.send('x'.repeat(Number(number)));
    else if (order === 'bin') socket.send(Buffer.from([1, 2, 3, 4]));
    else if (order === 'close') socket.close();
    else if (order === 'note') log.push(message.slice(5));
    else if (order === 'log') socket.send(JSON.stringify(log));
    else socket.send(message);
  });
});

io.on('connection', (socket) => {
  socket.on('disconnect', (reason) => log.push(`${socket.id} ${reason}`));
  socket.on('echo', (value, ack) => ack(value));
  socket.on('burst', (n) => { for (let i = 0; i < n; i += 1) socket.emit('n', i); });
  socket.on('volatile', () => { socket.volatile.emit('v'); socket.emit('said'); });
  socket.on('leave', (close) => socket.disconnect(close));
  socket.on('log', (ack) => ack(log));
});

web.listen(0, '127.0.0.1', () => console.log(`127.0.0.1:${web.address().port}`));
