// One Engine.IO session: handshake, heartbeat, buffer, and the way from polling to a websocket.

import { parseAddress } from './address.js';
import { encodedLength } from './binary.js';
import { Emitter } from './emitter.js';
import { Polling, WebSocketTransport } from './transports.js';

const TRANSPORTS = { polling: Polling, websocket: WebSocketTransport };

/** Did the last session of this page reach a websocket (option `rememberUpgrade`)? */
let hadWebSocket = false;

export class Engine extends Emitter {
  constructor(uri, opts) {
    super();
    this.opts = { path: '/socket.io', upgrade: true, ...opts };
    this.origin_ = parseAddress(uri).origin_;
    this.transports = (this.opts.transports || ['polling', 'websocket']).filter((name) => TRANSPORTS[name]);
    this.writeBuffer = [];
    /** How many packets of the buffer are on their way. */
    this.inFlight_ = 0;
    this.readyState = 'opening';
    this.offline_ = () => this.close_({ description: 'network connection lost' });
    this.unload_ = () => this.transport.close_();
    this.watch_('add');
    this.open_();
  }

  watch_(verb) {
    const watch = globalThis[`${verb}EventListener`];
    watch?.('offline', this.offline_);
    if (this.opts.closeOnBeforeunload) watch?.('beforeunload', this.unload_);
  }

  open_() {
    const { transports } = this;
    const direct = this.opts.rememberUpgrade && hadWebSocket && transports.includes('websocket');
    const name = direct ? 'websocket' : transports[0];
    const Transport = TRANSPORTS[name];
    // Nobody listens yet.
    if (!Transport) return queueMicrotask(() => this.error_(new Error('No transports available')));
    this.transport = new Transport(this, name);
    this.transport.open_();
  }

  send(data, options) {
    return this.write(data, options);
  }

  write(data, options) {
    this.push_({ type: 'message', data, options });
    return this;
  }

  push_(packet) {
    if (/^clos/.test(this.readyState)) return;
    this.emit('packetCreate', packet);
    this.writeBuffer.push(packet);
    this.flush_();
  }

  flush_() {
    const { transport, writeBuffer } = this;
    if (/opening|closed/.test(this.readyState) || this.upgrading || !transport.writable || !writeBuffer.length) return;
    const packets = this.fitting_();
    this.inFlight_ = packets.length;
    transport.write_(packets);
    this.emit('flush');
  }

  /** As many packets as one POST may carry, at least one. */
  fitting_() {
    if (!this.maxPayload_ || this.transport.name !== 'polling') return this.writeBuffer.slice();
    let size = -1;
    const end = this.writeBuffer.findIndex(({ data }, at) => {
      size += encodedLength(data) + 1; // and the separator
      return at && size > this.maxPayload_;
    });
    return this.writeBuffer.slice(0, end < 0 ? undefined : end);
  }

  /** After what is buffered and an upgrade that has begun. */
  close() {
    if (/^clos/.test(this.readyState)) return this;
    const opened = this.readyState === 'open';
    this.readyState = 'closing';
    const close = () => {
      if (this.upgrading) this.once('upgrade', close).once('upgradeError', close);
      else if (opened && this.writeBuffer.length) this.once('drain', close);
      else this.end_('forced close');
    };
    close();
    return this;
  }

  // From the transport:

  packet_(packet) {
    if (this.readyState === 'closed') return;
    const { type, data } = packet;
    this.emit('packet', packet);
    this.emit('heartbeat');
    if (type === 'open') {
      this.handshake_(JSON.parse(data));
    } else if (type === 'ping') {
      this.push_({ type: 'pong' });
      this.emit('ping');
      this.emit('pong');
      this.expectPing_();
    } else if (type === 'message') {
      this.emit('data', data);
      this.emit('message', data);
    } else if (type === 'error') {
      this.error_(Object.assign(new Error('server error'), { code: data }));
    }
  }

  drain_() {
    this.writeBuffer.splice(0, this.inFlight_);
    this.inFlight_ = 0;
    if (this.writeBuffer.length) this.flush_();
    else this.emit('drain');
  }

  error_(error) {
    hadWebSocket = false;
    if (this.opts.tryAllTransports && this.readyState === 'opening' && this.transports.length > 1) {
      this.transport.close_();
      this.transports.shift();
      return this.open_();
    }
    this.emit('error', error);
    this.end_('transport error', error);
  }

  close_(details) {
    this.end_('transport close', details);
  }

  // Inside:

  handshake_(data) {
    this.emit('handshake', data);
    this.id = data.sid;
    this.patience_ = data.pingInterval + data.pingTimeout;
    this.maxPayload_ = data.maxPayload;
    this.readyState = 'open';
    hadWebSocket = this.transport.name === 'websocket';
    this.emit('open');
    this.flush_();
    if (this.readyState !== 'open') return;
    this.expectPing_();
    if (this.opts.upgrade && data.upgrades?.includes('websocket') && this.transports.includes('websocket')) this.probe_();
  }

  expectPing_() {
    clearTimeout(this._pingTimeoutTimer);
    if (this.readyState === 'closed') return;
    this.deadline_ = Date.now() + this.patience_;
    this._pingTimeoutTimer = setTimeout(() => this.end_('ping timeout'), this.patience_);
  }

  /** Has the time passed without the timer, as when a device slept? Then nothing more should be sent here. */
  isStale_() {
    const stale = Date.now() > this.deadline_;
    if (stale) queueMicrotask(() => this.end_('ping timeout'));
    return stale;
  }

  /** Tries a websocket beside the polling. Until it has answered, and if it fails, polling goes on as if nothing were. */
  probe_() {
    const polling = this.transport;
    const probe = new WebSocketTransport(this, 'websocket');
    this.probing_ = probe;
    let answered;
    const settle = () => {
      this.probing_ = this.upgrading = false;
    };
    const fail = (why) => {
      if (this.probing_ !== probe) return;
      settle();
      probe.close_();
      if (answered) polling.resume_();
      this.emit('upgradeError', Object.assign(new Error(`probe error: ${why}`), { transport: probe.name }));
      this.flush_();
    };
    probe.to_ = {
      drain_: () => {
        if (!probe.asked_) probe.write_([{ type: 'ping', data: 'probe' }]);
        probe.asked_ = true;
      },
      packet_: ({ type, data }) => {
        if (type !== 'pong' || data !== 'probe') return fail('unexpected packet');
        answered = this.upgrading = true;
        this.emit('upgrading', probe);
        // What is under way arrives first: nothing is lost, doubled, or out of order.
        polling.pause_(() => {
          if (this.probing_ !== probe) return;
          polling.to_ = null;
          probe.to_ = this;
          this.transport = probe;
          hadWebSocket = true;
          probe.write_([{ type: 'upgrade' }]);
          settle();
          this.emit('upgrade', probe);
        });
      },
      close_: () => fail('socket closed'),
      error_: () => fail('websocket error'),
    };
    probe.open_();
  }

  end_(reason, details) {
    if (this.readyState === 'closed') return;
    this.readyState = 'closed';
    clearTimeout(this._pingTimeoutTimer);
    this.watch_('remove');
    this.probing_?.close_?.();
    this.transport?.close_();
    this.probing_ = this.upgrading = false;
    this.id = null;
    this.emit('close', reason, details);
    this.writeBuffer = [];
    this.inFlight_ = 0;
  }
}
