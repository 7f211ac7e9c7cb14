// A namespace of a Manager's connection, as the program sees it.

import { callAll, Emitter } from './emitter.js';
import { ACK, CONNECT, CONNECT_ERROR, DISCONNECT, EVENT, RESERVED } from './parser.js';

export class Socket extends Emitter {
  constructor(io, nsp, opts) {
    super();
    this.io = io;
    this.nsp = nsp;
    this._opts = { ...opts };
    this.auth = this._opts.auth;
    this.connected = false;
    /** Did the server restore what was missed while the connection was down? */
    this.recovered = false;
    /** What arrived, and what was emitted, before there was a connection. */
    this.receiveBuffer = [];
    this.sendBuffer = [];
    this.flags = {};
    this.acks = {};
    this.ids = 0;
    this._Any = [];
    this._AnyOutgoing = [];
    /** What is sent until it is acknowledged (option `retries`). */
    this.queue_ = [];
    if (io._autoConnect) this.open();
  }

  get disconnected() {
    return !this.connected;
  }

  /** Will it connect by itself, now or again? */
  get active() {
    return Boolean(this.subscriptions_);
  }

  get volatile() {
    this.flags.volatile = true;
    return this;
  }

  compress(compress) {
    this.flags.compress = compress;
    return this;
  }

  timeout(milliseconds) {
    this.flags.timeout = milliseconds;
    return this;
  }

  open() {
    if (this.connected) return this;
    const { active, io } = this;
    if (!active) {
      this.subscriptions_ = {
        open: () => this.opened_(),
        packet: (packet) => { if (packet.nsp === this.nsp) this.packet_(packet); },
        error: (error) => { if (!this.connected) this.fire_('connect_error', error); },
        close: (...why) => this.closed_(...why),
      };
      for (const event in this.subscriptions_) io.on(event, this.subscriptions_[event]);
    }
    if (!io._reconnecting) io.open();
    // One CONNECT only: a second one would end the session.
    if (io._readyState === 'open' && !active) this.opened_();
    return this;
  }

  disconnect() {
    const { connected } = this;
    if (connected) this.packet({ type: DISCONNECT });
    this.destroy_();
    if (connected) this.closed_('io client disconnect');
    return this;
  }

  send(...args) {
    return this.emit('message', ...args);
  }

  emit(event, ...args) {
    if (RESERVED.includes(event)) throw new Error(`"${event}" is a reserved event name`);
    const { flags, io } = this;
    args.unshift(event);
    if (this._opts.retries && !flags.again_ && !flags.volatile) {
      this.enqueue_(args);
      return this;
    }
    const packet = { type: EVENT, data: args, options: { compress: flags.compress !== false } };
    if (typeof args[args.length - 1] === 'function') {
      packet.id = this.ids++;
      this.acks[packet.id] = this.ack_(packet, args.pop());
    }
    this.flags = {};
    const { engine } = io;
    if (flags.volatile && !engine?.transport?.writable) return this;
    if (this.connected && !engine.isStale_()) this.event_(packet);
    else this.sendBuffer.push(packet);
    return this;
  }

  /** Resolves with the first argument of the acknowledgement; rejects after a `timeout` or a disconnection. */
  emitWithAck(event, ...args) {
    return new Promise((resolve, reject) => {
      const ack = (error, answer) => (error ? reject(error) : resolve(answer));
      ack.withError = true;
      this.emit(event, ...args, ack);
    });
  }

  /** What to call with the answer; `withError`: with null or an error before it. */
  ack_(packet, ack) {
    const milliseconds = this.flags.timeout ?? this._opts.ackTimeout;
    if (milliseconds === undefined) return ack;
    const timer = setTimeout(() => {
      delete this.acks[packet.id];
      this.sendBuffer = this.sendBuffer.filter((one) => one !== packet);
      ack.call(this, new Error('operation has timed out'));
    }, milliseconds);
    const timed = (...answer) => {
      clearTimeout(timer);
      ack.apply(this, answer);
    };
    timed.withError = true;
    return timed;
  }

  event_(packet) {
    callAll(this._AnyOutgoing, this, packet.data);
    this.packet(packet);
  }

  packet(packet) {
    packet.nsp = this.nsp;
    this.io._packet(packet);
  }

  opened_() {
    const { auth } = this;
    const connect = (data) => this.packet({
      type: CONNECT,
      data: this.pid_ ? { pid: this.pid_, offset: this.offset_, ...data } : data,
    });
    if (typeof auth === 'function') auth(connect);
    else connect(auth);
  }

  packet_({ type, id, data }) {
    if (type === EVENT) {
      this.receive_(data || [], id);
    } else if (type === ACK) {
      const ack = this.acks[id];
      delete this.acks[id];
      if (ack) ack.apply(this, ack.withError ? [null, ...(data || [])] : data);
    } else if (type === CONNECT) {
      if (data?.sid) this.connected_(data);
      else this.fire_('connect_error', new Error('CONNECT without a sid: is this a server of Socket.IO v2?'));
    } else if (type === DISCONNECT) {
      this.destroy_();
      this.closed_('io server disconnect');
    } else if (type === CONNECT_ERROR) {
      this.destroy_();
      this.fire_('connect_error', Object.assign(new Error(data?.message ?? data), { data: data?.data }));
    }
  }

  receive_(args, id) {
    if (id !== undefined) {
      let answered;
      args.push((...answer) => {
        if (!answered) this.packet({ type: ACK, id, data: answer });
        answered = true;
      });
    }
    if (this.connected) this.dispatch_(args);
    else this.receiveBuffer.push(args);
  }

  dispatch_(args) {
    callAll(this._Any, this, args);
    this.fire_(...args);
    // What the server needs to know to send the rest after a break.
    const last = args[args.length - 1];
    if (this.pid_ && typeof last === 'string') this.offset_ = last;
  }

  connected_({ sid, pid }) {
    this.id = sid;
    this.recovered = Boolean(pid && this.pid_ === pid);
    this.pid_ = pid;
    // What the last session was sent says nothing about a new one.
    if (!this.recovered) this.offset_ = undefined;
    this.connected = true;
    for (const args of this.receiveBuffer.splice(0)) this.dispatch_(args);
    for (const packet of this.sendBuffer.splice(0)) this.event_(packet);
    this.send_(true);
    this.fire_('connect');
  }

  closed_(reason, details) {
    this.connected = false;
    delete this.id;
    this.fire_('disconnect', reason, details);
    for (const id in this.acks) {
      const ack = this.acks[id];
      // What was not sent yet may still be answered.
      if (this.sendBuffer.some((packet) => packet.id === +id)) continue;
      delete this.acks[id];
      if (ack.withError) callAll([ack], this, [new Error('socket has been disconnected')]);
    }
  }

  destroy_() {
    for (const event in this.subscriptions_) this.io.off(event, this.subscriptions_[event]);
    this.subscriptions_ = 0;
    this.io._destroy();
  }

  /** Keeps an event until it is acknowledged or was tried `retries` times more; one after the other. */
  enqueue_(args) {
    const ack = typeof args[args.length - 1] === 'function' && args.pop();
    const item = { args_: args, flags_: { ...this.flags, again_: true }, tries_: 0 };
    this.flags = {};
    const settle = (error, ...answer) => {
      // The answer to an earlier try is an answer, and a second one is none.
      if (item !== this.queue_[0]) return;
      item.pending_ = false;
      if (!error || item.tries_ > this._opts.retries) {
        this.queue_.shift();
        if (ack) ack(error, ...answer);
      }
      this.send_();
    };
    settle.withError = true;
    args.push(settle);
    this.queue_.push(item);
    this.send_();
  }

  send_(anew) {
    const [item] = this.queue_;
    if (!this.connected || !item || (item.pending_ && !anew)) return;
    item.pending_ = true;
    item.tries_ += 1;
    this.flags = item.flags_;
    this.emit(...item.args_);
  }
}

const { prototype } = Socket;
prototype.connect = prototype.open;
prototype.close = prototype.disconnect;

// Listeners of all events: onAny, prependAny, offAny, listenersAny for what arrives, and …AnyOutgoing for what leaves.
for (const suffix of ['Any', 'AnyOutgoing']) {
  const list = `_${suffix}`;
  prototype[`on${suffix}`] = function (listener) {
    this[list] = [...this[list], listener];
    return this;
  };
  prototype[`prepend${suffix}`] = function (listener) {
    this[list] = [listener, ...this[list]];
    return this;
  };
  prototype[`off${suffix}`] = function (listener) {
    this[list] = listener ? this[list].filter((one) => one !== listener) : [];
    return this;
  };
  prototype[`listeners${suffix}`] = function () {
    return this[list];
  };
}
