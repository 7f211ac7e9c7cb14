// What carries Engine.IO packets: long-polling over fetch, and the platform's WebSocket.
//
// A transport reports to `to_`: packet_(packet), drain_() when what was written has left, close_(details) and error_(error).
// It reports to nobody once it was closed.

import { decodePacket, encodePacket } from './packet.js';

class Transport {
  constructor(engine, name) {
    this.engine_ = engine;
    this.name = name;
    this.to_ = engine;
    this.sid_ = engine.id;
    /** May `write_` be called now? */
    this.writable = false;
  }

  address_() {
    const { opts, origin_ } = this.engine_;
    const query = new URLSearchParams(opts.query);
    query.set('EIO', 4);
    query.set('transport', this.name);
    if (opts.forceBase64) query.set('b64', 1);
    if (this.sid_) query.set('sid', this.sid_);
    // No cache may answer.
    if (this.name === 'polling') query.set('t', Math.random().toString(36).slice(2));
    const path = opts.path.replace(/\/$/, '') + (opts.addTrailingSlash === false ? '' : '/');
    return `${origin_ + path}?${query}`;
  }

  write_(packets) {
    const binary = this.name !== 'polling' && !this.engine_.opts.forceBase64;
    const parts = packets.map((packet) => encodePacket(packet, binary));
    this.writable = false;
    if (binary) this.send_(parts);
    else Promise.all(parts).then((ready) => this.send_(ready));
  }

  drained_() {
    this.writable = true;
    this.to_?.drain_();
  }

  fail_(message, description, context) {
    this.to_?.error_(Object.assign(new Error(message), { type: 'TransportError', description, context }));
  }
}

export class Polling extends Transport {
  open_() {
    this.poll_();
  }

  async poll_() {
    this.polling_ = true;
    const payload = await this.request_('xhr poll error');
    if (payload === undefined) return;
    for (const part of payload.split('\x1e')) {
      const packet = decodePacket(part);
      if (packet.type === 'open') {
        this.sid_ = JSON.parse(packet.data).sid;
        this.writable = true;
        // It was closed before it had a session to end.
        if (!this.to_) this.close_();
      }
      if (packet.type === 'close') this.to_?.close_({ description: 'transport closed by the server' });
      else this.to_?.packet_(packet);
    }
    this.polling_ = false;
    if (this.paused_) this.rest_();
    else if (this.to_) this.poll_();
  }

  async send_(parts) {
    if (await this.request_('xhr post error', parts.join('\x1e')) === undefined) return;
    this.drained_();
    this.rest_();
  }

  /** The body of the response, or undefined and an error reported. */
  async request_(complaint, body) {
    const { extraHeaders, withCredentials } = this.engine_.opts;
    this.abort_ ||= new AbortController();
    let response;
    let why;
    try {
      response = await fetch(this.address_(), {
        method: body === undefined ? 'GET' : 'POST',
        body,
        headers: extraHeaders,
        credentials: withCredentials ? 'include' : 'same-origin',
        signal: this.abort_.signal,
      });
      const text = await response.text();
      if (response.ok) return text;
      why = response.status;
    } catch (error) {
      why = error;
    }
    this.fail_(complaint, why, response);
  }

  /** No further GET. Calls `then` when neither a GET nor a POST is on its way. */
  pause_(then) {
    this.paused_ = then;
    this.rest_();
  }

  rest_() {
    if (this.writable && !this.polling_) this.paused_?.();
  }

  resume_() {
    this.paused_ = null;
    if (!this.polling_) this.poll_();
  }

  close_() {
    const abort = () => this.abort_.abort();
    this.to_ = null;
    // The server answers the pending GET then; if not, it is of no use any more. A handshake under way is waited for, as
    // there will be a session to end; but not for long, as a browser has few connections for one server.
    if (this.sid_) this.request_('', '1').then(abort);
    else setTimeout(abort, 5000);
  }
}

export class WebSocketTransport extends Transport {
  open_() {
    const { protocols, extraHeaders } = this.engine_.opts;
    const failed = (event) => this.fail_('websocket error', event, this.ws);
    try {
      // Browsers ignore the headers, ws and React Native send them. Where there is a third argument, Chromium takes an undefined second
      // one for a protocol of this name.
      this.ws = new WebSocket(this.address_().replace('http', 'ws'), protocols || [], { headers: extraHeaders });
    } catch (error) {
      // There is no WebSocket here, or it is not allowed. Nobody listens yet.
      return queueMicrotask(() => failed(error));
    }
    this.ws.binaryType = 'arraybuffer';
    this.ws.onopen = () => this.drained_();
    this.ws.onmessage = ({ data }) => this.to_?.packet_(decodePacket(data));
    this.ws.onclose = (context) => this.to_?.close_({ description: 'websocket connection closed', context });
    this.ws.onerror = failed;
  }

  send_(parts) {
    for (const part of parts) this.ws.send(part);
    queueMicrotask(() => this.drained_());
  }

  close_() {
    this.to_ = null;
    this.ws?.close();
  }
}
