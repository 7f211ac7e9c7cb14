// The profile `raw`: WebSockets without Socket.IO.

import http from 'node:http';
import { WebSocketServer } from 'ws';

const SUBPROTOCOLS = ['chat', 'superchat'];

function echo(connection) {
  connection.on('message', (data, binary) => connection.send(data, { binary }));
}

export function plainRoutes() {
  const web = http.createServer((request, response) => response.writeHead(404).end());
  web.headersTimeout = 10_000;
  const settings = { noServer: true, maxPayload: 16 * 1024 * 1024 };
  const routes = {
    '/echo': new WebSocketServer(settings),
    '/broadcast': new WebSocketServer(settings),
    '/sub': new WebSocketServer({
      ...settings,
      handleProtocols: (asked) => [...asked].find((name) => SUBPROTOCOLS.includes(name)) ?? false,
    }),
    '/origin': new WebSocketServer({
      ...settings,
      verifyClient: ({ origin }, decide) => decide(origin === 'https://good.example', 403),
    }),
  };
  for (const route of Object.values(routes)) {
    route.on('connection', (connection) => connection.on('error', () => {})); // the close code says it to the peer
  }
  for (const name of ['/echo', '/sub', '/origin']) routes[name].on('connection', echo);
  routes['/broadcast'].on('connection', (connection) => connection.on('message', (data, binary) => {
    for (const member of routes['/broadcast'].clients) member.send(data, { binary });
  }));
  web.on('upgrade', (request, stream, head) => {
    const route = routes[new URL(request.url, 'http://contract').pathname];
    if (!route) return void stream.end('HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
    route.handleUpgrade(request, stream, head, (connection) => route.emit('connection', connection, request));
  });
  return web;
}
