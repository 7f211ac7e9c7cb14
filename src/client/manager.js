// One connection for several namespaces, which comes back after it broke.

import { Emitter } from './emitter.js';
import { Engine } from './engine.js';
import { Decoder, Encoder } from './parser.js';
import { Socket } from './socket.js';

/** What may be asked with `manager.name()` and changed with `manager.name(value)`; delays in milliseconds. */
const SETTINGS = {
  reconnection: true,
  reconnectionAttempts: Infinity,
  reconnectionDelay: 1000,
  reconnectionDelayMax: 5000,
  randomizationFactor: 0.5,
  timeout: 20000,
};

export class Manager extends Emitter {
  constructor(uri, opts) {
    super();
    if (uri && typeof uri === 'object') [uri, opts] = [undefined, uri];
    this.uri = uri;
    this.opts = { ...opts };
    this.nsps = {};
    this.attempts_ = 0;
    for (const name in SETTINGS) this[name](this.opts[name] ?? SETTINGS[name]);
    this._readyState = 'closed';
    this._autoConnect = this.opts.autoConnect !== false;
    const parser = this.opts.parser || { Decoder, Encoder };
    this.encoder = new parser.Encoder();
    this.decoder = new parser.Decoder();
    this.decoder.on('decoded', (packet) => this.emit('packet', packet));
    if (this._autoConnect) this.open();
  }

  /** `done` is called once, with an error if it failed; then there is no reconnection but that of the caller. */
  open(done) {
    if (this._readyState !== 'closed') return this;
    const engine = this.engine = new Engine(this.uri, this.opts);
    this._readyState = 'opening';
    this.stopped_ = false;
    const fail = (error) => {
      this.cleanUp_();
      this._readyState = 'closed';
      this.emit('error', error);
      if (done) done(error);
      else if (!this.attempts_) this.reconnect();
    };
    const { _timeout } = this;
    const timer = _timeout !== false && setTimeout(() => {
      fail(new Error('timeout'));
      engine.close();
    }, _timeout);
    this.listen_(engine, {
      open: () => {
        this.opened_(engine);
        done?.();
      },
      error: fail,
      close: (reason) => fail(new Error(reason)),
    }, timer);
    return this;
  }

  /** Instead of what it listened to before. */
  listen_(engine, listeners, timer) {
    this.cleanUp_?.();
    for (const event in listeners) engine.on(event, listeners[event]);
    this.cleanUp_ = () => {
      clearTimeout(timer);
      for (const event in listeners) engine.off(event, listeners[event]);
    };
  }

  opened_(engine) {
    this._readyState = 'open';
    // Also when it was opened by hand while it waited for the next attempt.
    clearTimeout(this.again_);
    this._reconnecting = false;
    this.listen_(engine, {
      ping: () => this.emit('ping'),
      data: (data) => {
        try {
          this.decoder.add(data);
        } catch (error) {
          this.closed_('parse error', error);
        }
      },
      error: (error) => this.emit('error', error),
      close: (...why) => this.closed_(...why),
    });
    this.emit('open');
  }

  closed_(reason, details) {
    this.cleanUp_?.();
    this.engine?.close();
    this.decoder.destroy();
    this.attempts_ = 0;
    this._readyState = 'closed';
    this.emit('close', reason, details);
    this.reconnect();
  }

  /** The socket of a namespace, the same one each time. */
  socket(nsp, opts) {
    let socket = this.nsps[nsp];
    if (!socket) socket = this.nsps[nsp] = new Socket(this, nsp, opts);
    else if (this._autoConnect && !socket.active) socket.connect();
    return socket;
  }

  _packet(packet) {
    for (const part of this.encoder.encode(packet)) this.engine.write(part, packet.options);
  }

  /** A socket needs it no longer; after the last one it closes. */
  _destroy() {
    if (!Object.values(this.nsps).some((socket) => socket.active)) this._close();
  }

  _close() {
    this.stopped_ = true;
    this._reconnecting = false;
    clearTimeout(this.again_);
    this.closed_('forced close');
  }

  reconnect() {
    if (this._reconnecting || this.stopped_ || !this._reconnection) return;
    if (this.attempts_ >= this._reconnectionAttempts) {
      this.attempts_ = 0;
      this.emit('reconnect_failed');
      return;
    }
    // Twice as long each time, and at random, so that the clients of a server that went do not all come at once.
    const jitter = 1 + this._randomizationFactor * (2 * Math.random() - 1);
    const delay = Math.min(this._reconnectionDelay * 2 ** this.attempts_ * jitter, this._reconnectionDelayMax);
    this.attempts_ += 1;
    this._reconnecting = true;
    this.again_ = setTimeout(() => {
      const attempt = this.attempts_;
      if (this._reconnection) this.emit('reconnect_attempt', attempt);
      this._reconnecting = this._reconnection && this._reconnecting;
      // It may have been told to stop, also by a listener.
      if (!this._reconnecting) return;
      this.open((error) => {
        this._reconnecting = false;
        if (error) {
          this.reconnect();
          this.emit('reconnect_error', error);
        } else {
          this.attempts_ = 0;
          this.emit('reconnect', attempt);
        }
      });
    }, delay);
  }
}

const { prototype } = Manager;
prototype.connect = prototype.open;
prototype.disconnect = prototype._close;
for (const name in SETTINGS) {
  prototype[name] = function (...value) {
    if (!value.length) return this[`_${name}`];
    [this[`_${name}`]] = value;
    return this;
  };
}
