/*! Ringhall client, MIT OR Apache-2.0 */
(() => {
  // address.js
  function parseAddress(text = "") {
    const [, scheme, host, path, query] = /^(?:(?:(\w+):)?\/\/)?([^/?#]*)([^?#]*)(?:\?([^#]*))?/.exec(text);
    const { location } = globalThis;
    const secure = /https|wss/.test(scheme || location?.protocol || "https");
    return { origin_: `http${secure ? "s" : ""}://${host || location?.host}`, path_: path || "/", query_: query };
  }

  // emitter.js
  function callAll(listeners, self, args) {
    for (const listener of listeners) {
      try {
        listener.apply(self, args);
      } catch (error) {
        setTimeout(() => {
          throw error;
        });
      }
    }
  }
  var Emitter = class {
    constructor() {
      this.listeners_ = /* @__PURE__ */ new Map();
    }
    on(event, listener) {
      this.listeners_.set(event, [...this.listeners(event), listener]);
      return this;
    }
    once(event, listener) {
      const once = function(...args) {
        this.off(event, once);
        listener.apply(this, args);
      };
      once.of_ = listener;
      return this.on(event, once);
    }
    /** Removes one listener, all of an event, or all. */
    off(event, listener) {
      if (listener) {
        const all = this.listeners(event).slice();
        const at = all.findIndex((one) => one === listener || one.of_ === listener);
        if (at >= 0) all.splice(at, 1);
        this.listeners_.set(event, all);
      } else if (event === void 0) {
        this.listeners_.clear();
      } else {
        this.listeners_.delete(event);
      }
      return this;
    }
    listeners(event) {
      return this.listeners_.get(event) || [];
    }
    hasListeners(event) {
      return this.listeners(event).length > 0;
    }
    /** Calls who listens at this moment. `emit` is the same, but for Socket, whose `emit` sends. */
    fire_(event, ...args) {
      callAll(this.listeners(event), this, args);
      return this;
    }
  };
  var { prototype } = Emitter;
  prototype.emit = prototype.fire_;
  prototype.addEventListener = prototype.on;
  prototype.removeListener = prototype.removeAllListeners = prototype.removeEventListener = prototype.off;

  // binary.js
  function isBinary(value) {
    return value instanceof ArrayBuffer || ArrayBuffer.isView(value) || value instanceof Blob;
  }
  function encodedLength(data = "") {
    if (typeof data === "string") return new TextEncoder().encode(data).length + 1;
    return Math.ceil((data.byteLength ?? data.size) / 3) * 4 + 1;
  }
  function toBase64(data) {
    if (data.arrayBuffer) return data.arrayBuffer().then(toBase64);
    const bytes = ArrayBuffer.isView(data) ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength) : new Uint8Array(data);
    let text = "";
    for (let at = 0; at < bytes.length; at += 4096) text += String.fromCharCode(...bytes.subarray(at, at + 4096));
    return btoa(text);
  }
  function fromBase64(text) {
    return received(Uint8Array.from(atob(text), (character) => character.charCodeAt()).buffer);
  }
  function received(buffer) {
    return globalThis.process?.versions?.node ? globalThis.Buffer.from(buffer) : buffer;
  }

  // packet.js
  var TYPES = ["open", "close", "ping", "pong", "message", "upgrade", "noop"];
  function encodePacket({ type, data = "" }, binary) {
    if (typeof data === "string") return TYPES.indexOf(type) + data;
    if (binary) return data;
    const text = toBase64(data);
    return text.then ? text.then((text2) => `b${text2}`) : `b${text}`;
  }
  function decodePacket(data) {
    if (typeof data !== "string") return { type: "message", data: received(data) };
    const type = TYPES[data[0]];
    const rest = data.slice(1);
    try {
      if (data[0] === "b") return { type: "message", data: fromBase64(rest) };
      if (type === "open") JSON.parse(rest);
      if (type) return rest ? { type, data: rest } : { type };
    } catch {
    }
    return { type: "error", data: "parser error" };
  }

  // transports.js
  var Transport = class {
    constructor(engine, name) {
      this.engine_ = engine;
      this.name = name;
      this.to_ = engine;
      this.sid_ = engine.id;
      this.writable = false;
    }
    address_() {
      const { opts, origin_ } = this.engine_;
      const query = new URLSearchParams(opts.query);
      query.set("EIO", 4);
      query.set("transport", this.name);
      if (opts.forceBase64) query.set("b64", 1);
      if (this.sid_) query.set("sid", this.sid_);
      if (this.name === "polling") query.set("t", Math.random().toString(36).slice(2));
      const path = opts.path.replace(/\/$/, "") + (opts.addTrailingSlash === false ? "" : "/");
      return `${origin_ + path}?${query}`;
    }
    write_(packets) {
      const binary = this.name !== "polling" && !this.engine_.opts.forceBase64;
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
      this.to_?.error_(Object.assign(new Error(message), { type: "TransportError", description, context }));
    }
  };
  var Polling = class extends Transport {
    open_() {
      this.poll_();
    }
    async poll_() {
      this.polling_ = true;
      const payload = await this.request_("xhr poll error");
      if (payload === void 0) return;
      for (const part of payload.split("")) {
        const packet = decodePacket(part);
        if (packet.type === "open") {
          this.sid_ = JSON.parse(packet.data).sid;
          this.writable = true;
          if (!this.to_) this.close_();
        }
        if (packet.type === "close") this.to_?.close_({ description: "transport closed by the server" });
        else this.to_?.packet_(packet);
      }
      this.polling_ = false;
      if (this.paused_) this.rest_();
      else if (this.to_) this.poll_();
    }
    async send_(parts) {
      if (await this.request_("xhr post error", parts.join("")) === void 0) return;
      this.drained_();
      this.rest_();
    }
    /** The body of the response, or undefined and an error reported. */
    async request_(complaint, body) {
      const { extraHeaders, withCredentials } = this.engine_.opts;
      this.abort_ || (this.abort_ = new AbortController());
      let response;
      let why;
      try {
        response = await fetch(this.address_(), {
          method: body === void 0 ? "GET" : "POST",
          body,
          headers: extraHeaders,
          credentials: withCredentials ? "include" : "same-origin",
          signal: this.abort_.signal
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
      if (this.sid_) this.request_("", "1").then(abort);
      else setTimeout(abort, 5e3);
    }
  };
  var WebSocketTransport = class extends Transport {
    open_() {
      const { protocols, extraHeaders } = this.engine_.opts;
      const failed = (event) => this.fail_("websocket error", event, this.ws);
      try {
        this.ws = new WebSocket(this.address_().replace("http", "ws"), protocols || [], { headers: extraHeaders });
      } catch (error) {
        return queueMicrotask(() => failed(error));
      }
      this.ws.binaryType = "arraybuffer";
      this.ws.onopen = () => this.drained_();
      this.ws.onmessage = ({ data }) => this.to_?.packet_(decodePacket(data));
      this.ws.onclose = (context) => this.to_?.close_({ description: "websocket connection closed", context });
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
  };

  // engine.js
  var TRANSPORTS = { polling: Polling, websocket: WebSocketTransport };
  var hadWebSocket = false;
  var Engine = class extends Emitter {
    constructor(uri, opts) {
      super();
      this.opts = { path: "/socket.io", upgrade: true, ...opts };
      this.origin_ = parseAddress(uri).origin_;
      this.transports = (this.opts.transports || ["polling", "websocket"]).filter((name) => TRANSPORTS[name]);
      this.writeBuffer = [];
      this.inFlight_ = 0;
      this.readyState = "opening";
      this.offline_ = () => this.close_({ description: "network connection lost" });
      this.unload_ = () => this.transport.close_();
      this.watch_("add");
      this.open_();
    }
    watch_(verb) {
      const watch = globalThis[`${verb}EventListener`];
      watch?.("offline", this.offline_);
      if (this.opts.closeOnBeforeunload) watch?.("beforeunload", this.unload_);
    }
    open_() {
      const { transports } = this;
      const direct = this.opts.rememberUpgrade && hadWebSocket && transports.includes("websocket");
      const name = direct ? "websocket" : transports[0];
      const Transport2 = TRANSPORTS[name];
      if (!Transport2) return queueMicrotask(() => this.error_(new Error("No transports available")));
      this.transport = new Transport2(this, name);
      this.transport.open_();
    }
    send(data, options) {
      return this.write(data, options);
    }
    write(data, options) {
      this.push_({ type: "message", data, options });
      return this;
    }
    push_(packet) {
      if (/^clos/.test(this.readyState)) return;
      this.emit("packetCreate", packet);
      this.writeBuffer.push(packet);
      this.flush_();
    }
    flush_() {
      const { transport, writeBuffer } = this;
      if (/opening|closed/.test(this.readyState) || this.upgrading || !transport.writable || !writeBuffer.length) return;
      const packets = this.fitting_();
      this.inFlight_ = packets.length;
      transport.write_(packets);
      this.emit("flush");
    }
    /** As many packets as one POST may carry, at least one. */
    fitting_() {
      if (!this.maxPayload_ || this.transport.name !== "polling") return this.writeBuffer.slice();
      let size = -1;
      const end = this.writeBuffer.findIndex(({ data }, at) => {
        size += encodedLength(data) + 1;
        return at && size > this.maxPayload_;
      });
      return this.writeBuffer.slice(0, end < 0 ? void 0 : end);
    }
    /** After what is buffered and an upgrade that has begun. */
    close() {
      if (/^clos/.test(this.readyState)) return this;
      const opened = this.readyState === "open";
      this.readyState = "closing";
      const close = () => {
        if (this.upgrading) this.once("upgrade", close).once("upgradeError", close);
        else if (opened && this.writeBuffer.length) this.once("drain", close);
        else this.end_("forced close");
      };
      close();
      return this;
    }
    // From the transport:
    packet_(packet) {
      if (this.readyState === "closed") return;
      const { type, data } = packet;
      this.emit("packet", packet);
      this.emit("heartbeat");
      if (type === "open") {
        this.handshake_(JSON.parse(data));
      } else if (type === "ping") {
        this.push_({ type: "pong" });
        this.emit("ping");
        this.emit("pong");
        this.expectPing_();
      } else if (type === "message") {
        this.emit("data", data);
        this.emit("message", data);
      } else if (type === "error") {
        this.error_(Object.assign(new Error("server error"), { code: data }));
      }
    }
    drain_() {
      this.writeBuffer.splice(0, this.inFlight_);
      this.inFlight_ = 0;
      if (this.writeBuffer.length) this.flush_();
      else this.emit("drain");
    }
    error_(error) {
      hadWebSocket = false;
      if (this.opts.tryAllTransports && this.readyState === "opening" && this.transports.length > 1) {
        this.transport.close_();
        this.transports.shift();
        return this.open_();
      }
      this.emit("error", error);
      this.end_("transport error", error);
    }
    close_(details) {
      this.end_("transport close", details);
    }
    // Inside:
    handshake_(data) {
      this.emit("handshake", data);
      this.id = data.sid;
      this.patience_ = data.pingInterval + data.pingTimeout;
      this.maxPayload_ = data.maxPayload;
      this.readyState = "open";
      hadWebSocket = this.transport.name === "websocket";
      this.emit("open");
      this.flush_();
      if (this.readyState !== "open") return;
      this.expectPing_();
      if (this.opts.upgrade && data.upgrades?.includes("websocket") && this.transports.includes("websocket")) this.probe_();
    }
    expectPing_() {
      clearTimeout(this._pingTimeoutTimer);
      if (this.readyState === "closed") return;
      this.deadline_ = Date.now() + this.patience_;
      this._pingTimeoutTimer = setTimeout(() => this.end_("ping timeout"), this.patience_);
    }
    /** Has the time passed without the timer, as when a device slept? Then nothing more should be sent here. */
    isStale_() {
      const stale = Date.now() > this.deadline_;
      if (stale) queueMicrotask(() => this.end_("ping timeout"));
      return stale;
    }
    /** Tries a websocket beside the polling. Until it has answered, and if it fails, polling goes on as if nothing were. */
    probe_() {
      const polling = this.transport;
      const probe = new WebSocketTransport(this, "websocket");
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
        this.emit("upgradeError", Object.assign(new Error(`probe error: ${why}`), { transport: probe.name }));
        this.flush_();
      };
      probe.to_ = {
        drain_: () => {
          if (!probe.asked_) probe.write_([{ type: "ping", data: "probe" }]);
          probe.asked_ = true;
        },
        packet_: ({ type, data }) => {
          if (type !== "pong" || data !== "probe") return fail("unexpected packet");
          answered = this.upgrading = true;
          this.emit("upgrading", probe);
          polling.pause_(() => {
            if (this.probing_ !== probe) return;
            polling.to_ = null;
            probe.to_ = this;
            this.transport = probe;
            hadWebSocket = true;
            probe.write_([{ type: "upgrade" }]);
            settle();
            this.emit("upgrade", probe);
          });
        },
        close_: () => fail("socket closed"),
        error_: () => fail("websocket error")
      };
      probe.open_();
    }
    end_(reason, details) {
      if (this.readyState === "closed") return;
      this.readyState = "closed";
      clearTimeout(this._pingTimeoutTimer);
      this.watch_("remove");
      this.probing_?.close_?.();
      this.transport?.close_();
      this.probing_ = this.upgrading = false;
      this.id = null;
      this.emit("close", reason, details);
      this.writeBuffer = [];
      this.inFlight_ = 0;
    }
  };

  // parser.js
  var CONNECT = 0;
  var DISCONNECT = 1;
  var EVENT = 2;
  var ACK = 3;
  var CONNECT_ERROR = 4;
  var BINARY = 3;
  var ATTACHMENTS_MAX = 10;
  var RESERVED = ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];
  var Encoder = class {
    /** The text, and the attachments in their order. */
    encode({ type, nsp, id = "", data }) {
      const attachments = [];
      const json = JSON.stringify(data, function(key, value) {
        const binary = [this[key], value].find(isBinary);
        return binary ? { _placeholder: true, num: attachments.push(binary) - 1 } : value;
      });
      const count = attachments.length;
      const head = count ? `${type + BINARY}${count}-` : type;
      return [`${head}${nsp === "/" ? "" : `${nsp},`}${id}${json ?? ""}`, ...attachments];
    }
  };
  var Decoder = class extends Emitter {
    /** Takes what one Engine.IO message brought, emits `decoded` when a packet is whole, and throws if it is none. */
    add(data) {
      const { waiting_ } = this;
      if (typeof data === "string") {
        if (waiting_) throw new Error("text instead of an attachment");
        this.text_(data);
      } else {
        if (!isBinary(data) || !waiting_) throw new Error("binary without a packet");
        waiting_.attachments_.push(data);
        if (waiting_.attachments_.length === waiting_.count_) {
          this.waiting_ = 0;
          this.whole_(waiting_, waiting_.attachments_);
        }
      }
    }
    text_(text) {
      const [head, type, count, nsp = "/", id] = /^([0-6])(?:(\d+)-)?(\/[^,]*)?,?(\d+)?/.exec(text) || [];
      const packet = { type: +type, nsp, text_: text.slice(head?.length), count_: +count, attachments_: [] };
      if (!head || (type > 4 ? !(count > 0 && count <= ATTACHMENTS_MAX) : count)) throw new Error("invalid packet");
      if (id) packet.id = +id;
      if (count) this.waiting_ = packet;
      else this.whole_(packet);
    }
    whole_({ type, nsp, id, text_ }, attachments) {
      const packet = { type: type > 4 ? type - BINARY : type, nsp };
      if (id !== void 0) packet.id = id;
      if (text_) {
        packet.data = JSON.parse(text_, attachments && ((_, value) => {
          if (value?._placeholder !== true) return value;
          if (typeof value.num !== "number" || !attachments[value.num]) throw new Error("illegal attachments");
          return attachments[value.num];
        }));
        if (!isFitting(packet)) throw new Error("invalid payload");
      }
      this.emit("decoded", packet);
    }
    /** Forgets a packet that is not whole. */
    destroy() {
      this.waiting_ = 0;
    }
  };
  function isFitting({ type, data }) {
    if (type === DISCONNECT) return false;
    if (type === CONNECT_ERROR && typeof data === "string") return true;
    if (type === CONNECT || type === CONNECT_ERROR) return data && typeof data === "object";
    if (!Array.isArray(data) || type === ACK) return Array.isArray(data);
    return typeof data[0] === "number" || typeof data[0] === "string" && !RESERVED.includes(data[0]);
  }

  // socket.js
  var Socket = class extends Emitter {
    constructor(io2, nsp, opts) {
      super();
      this.io = io2;
      this.nsp = nsp;
      this._opts = { ...opts };
      this.auth = this._opts.auth;
      this.connected = false;
      this.recovered = false;
      this.receiveBuffer = [];
      this.sendBuffer = [];
      this.flags = {};
      this.acks = {};
      this.ids = 0;
      this._Any = [];
      this._AnyOutgoing = [];
      this.queue_ = [];
      if (io2._autoConnect) this.open();
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
      const { active, io: io2 } = this;
      if (!active) {
        this.subscriptions_ = {
          open: () => this.opened_(),
          packet: (packet) => {
            if (packet.nsp === this.nsp) this.packet_(packet);
          },
          error: (error) => {
            if (!this.connected) this.fire_("connect_error", error);
          },
          close: (...why) => this.closed_(...why)
        };
        for (const event in this.subscriptions_) io2.on(event, this.subscriptions_[event]);
      }
      if (!io2._reconnecting) io2.open();
      if (io2._readyState === "open" && !active) this.opened_();
      return this;
    }
    disconnect() {
      const { connected } = this;
      if (connected) this.packet({ type: DISCONNECT });
      this.destroy_();
      if (connected) this.closed_("io client disconnect");
      return this;
    }
    send(...args) {
      return this.emit("message", ...args);
    }
    emit(event, ...args) {
      if (RESERVED.includes(event)) throw new Error(`"${event}" is a reserved event name`);
      const { flags, io: io2 } = this;
      args.unshift(event);
      if (this._opts.retries && !flags.again_ && !flags.volatile) {
        this.enqueue_(args);
        return this;
      }
      const packet = { type: EVENT, data: args, options: { compress: flags.compress !== false } };
      if (typeof args[args.length - 1] === "function") {
        packet.id = this.ids++;
        this.acks[packet.id] = this.ack_(packet, args.pop());
      }
      this.flags = {};
      const { engine } = io2;
      if (flags.volatile && !engine?.transport?.writable) return this;
      if (this.connected && !engine.isStale_()) this.event_(packet);
      else this.sendBuffer.push(packet);
      return this;
    }
    /** Resolves with the first argument of the acknowledgement; rejects after a `timeout` or a disconnection. */
    emitWithAck(event, ...args) {
      return new Promise((resolve, reject) => {
        const ack = (error, answer) => error ? reject(error) : resolve(answer);
        ack.withError = true;
        this.emit(event, ...args, ack);
      });
    }
    /** What to call with the answer; `withError`: with null or an error before it. */
    ack_(packet, ack) {
      const milliseconds = this.flags.timeout ?? this._opts.ackTimeout;
      if (milliseconds === void 0) return ack;
      const timer = setTimeout(() => {
        delete this.acks[packet.id];
        this.sendBuffer = this.sendBuffer.filter((one) => one !== packet);
        ack.call(this, new Error("operation has timed out"));
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
        data: this.pid_ ? { pid: this.pid_, offset: this.offset_, ...data } : data
      });
      if (typeof auth === "function") auth(connect);
      else connect(auth);
    }
    packet_({ type, id, data }) {
      if (type === EVENT) {
        this.receive_(data || [], id);
      } else if (type === ACK) {
        const ack = this.acks[id];
        delete this.acks[id];
        if (ack) ack.apply(this, ack.withError ? [null, ...data || []] : data);
      } else if (type === CONNECT) {
        if (data?.sid) this.connected_(data);
        else this.fire_("connect_error", new Error("CONNECT without a sid: is this a server of Socket.IO v2?"));
      } else if (type === DISCONNECT) {
        this.destroy_();
        this.closed_("io server disconnect");
      } else if (type === CONNECT_ERROR) {
        this.destroy_();
        this.fire_("connect_error", Object.assign(new Error(data?.message ?? data), { data: data?.data }));
      }
    }
    receive_(args, id) {
      if (id !== void 0) {
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
      const last = args[args.length - 1];
      if (this.pid_ && typeof last === "string") this.offset_ = last;
    }
    connected_({ sid, pid }) {
      this.id = sid;
      this.recovered = Boolean(pid && this.pid_ === pid);
      this.pid_ = pid;
      if (!this.recovered) this.offset_ = void 0;
      this.connected = true;
      for (const args of this.receiveBuffer.splice(0)) this.dispatch_(args);
      for (const packet of this.sendBuffer.splice(0)) this.event_(packet);
      this.send_(true);
      this.fire_("connect");
    }
    closed_(reason, details) {
      this.connected = false;
      delete this.id;
      this.fire_("disconnect", reason, details);
      for (const id in this.acks) {
        const ack = this.acks[id];
        if (this.sendBuffer.some((packet) => packet.id === +id)) continue;
        delete this.acks[id];
        if (ack.withError) callAll([ack], this, [new Error("socket has been disconnected")]);
      }
    }
    destroy_() {
      for (const event in this.subscriptions_) this.io.off(event, this.subscriptions_[event]);
      this.subscriptions_ = 0;
      this.io._destroy();
    }
    /** Keeps an event until it is acknowledged or was tried `retries` times more; one after the other. */
    enqueue_(args) {
      const ack = typeof args[args.length - 1] === "function" && args.pop();
      const item = { args_: args, flags_: { ...this.flags, again_: true }, tries_: 0 };
      this.flags = {};
      const settle = (error, ...answer) => {
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
      if (!this.connected || !item || item.pending_ && !anew) return;
      item.pending_ = true;
      item.tries_ += 1;
      this.flags = item.flags_;
      this.emit(...item.args_);
    }
  };
  var { prototype: prototype2 } = Socket;
  prototype2.connect = prototype2.open;
  prototype2.close = prototype2.disconnect;
  for (const suffix of ["Any", "AnyOutgoing"]) {
    const list = `_${suffix}`;
    prototype2[`on${suffix}`] = function(listener) {
      this[list] = [...this[list], listener];
      return this;
    };
    prototype2[`prepend${suffix}`] = function(listener) {
      this[list] = [listener, ...this[list]];
      return this;
    };
    prototype2[`off${suffix}`] = function(listener) {
      this[list] = listener ? this[list].filter((one) => one !== listener) : [];
      return this;
    };
    prototype2[`listeners${suffix}`] = function() {
      return this[list];
    };
  }

  // manager.js
  var SETTINGS = {
    reconnection: true,
    reconnectionAttempts: Infinity,
    reconnectionDelay: 1e3,
    reconnectionDelayMax: 5e3,
    randomizationFactor: 0.5,
    timeout: 2e4
  };
  var Manager = class extends Emitter {
    constructor(uri, opts) {
      super();
      if (uri && typeof uri === "object") [uri, opts] = [void 0, uri];
      this.uri = uri;
      this.opts = { ...opts };
      this.nsps = {};
      this.attempts_ = 0;
      for (const name in SETTINGS) this[name](this.opts[name] ?? SETTINGS[name]);
      this._readyState = "closed";
      this._autoConnect = this.opts.autoConnect !== false;
      const parser = this.opts.parser || { Decoder, Encoder };
      this.encoder = new parser.Encoder();
      this.decoder = new parser.Decoder();
      this.decoder.on("decoded", (packet) => this.emit("packet", packet));
      if (this._autoConnect) this.open();
    }
    /** `done` is called once, with an error if it failed; then there is no reconnection but that of the caller. */
    open(done) {
      if (this._readyState !== "closed") return this;
      const engine = this.engine = new Engine(this.uri, this.opts);
      this._readyState = "opening";
      this.stopped_ = false;
      const fail = (error) => {
        this.cleanUp_();
        this._readyState = "closed";
        this.emit("error", error);
        if (done) done(error);
        else if (!this.attempts_) this.reconnect();
      };
      const { _timeout } = this;
      const timer = _timeout !== false && setTimeout(() => {
        fail(new Error("timeout"));
        engine.close();
      }, _timeout);
      this.listen_(engine, {
        open: () => {
          this.opened_(engine);
          done?.();
        },
        error: fail,
        close: (reason) => fail(new Error(reason))
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
      this._readyState = "open";
      clearTimeout(this.again_);
      this._reconnecting = false;
      this.listen_(engine, {
        ping: () => this.emit("ping"),
        data: (data) => {
          try {
            this.decoder.add(data);
          } catch (error) {
            this.closed_("parse error", error);
          }
        },
        error: (error) => this.emit("error", error),
        close: (...why) => this.closed_(...why)
      });
      this.emit("open");
    }
    closed_(reason, details) {
      this.cleanUp_?.();
      this.engine?.close();
      this.decoder.destroy();
      this.attempts_ = 0;
      this._readyState = "closed";
      this.emit("close", reason, details);
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
      this.closed_("forced close");
    }
    reconnect() {
      if (this._reconnecting || this.stopped_ || !this._reconnection) return;
      if (this.attempts_ >= this._reconnectionAttempts) {
        this.attempts_ = 0;
        this.emit("reconnect_failed");
        return;
      }
      const jitter = 1 + this._randomizationFactor * (2 * Math.random() - 1);
      const delay = Math.min(this._reconnectionDelay * 2 ** this.attempts_ * jitter, this._reconnectionDelayMax);
      this.attempts_ += 1;
      this._reconnecting = true;
      this.again_ = setTimeout(() => {
        const attempt = this.attempts_;
        if (this._reconnection) this.emit("reconnect_attempt", attempt);
        this._reconnecting = this._reconnection && this._reconnecting;
        if (!this._reconnecting) return;
        this.open((error) => {
          this._reconnecting = false;
          if (error) {
            this.reconnect();
            this.emit("reconnect_error", error);
          } else {
            this.attempts_ = 0;
            this.emit("reconnect", attempt);
          }
        });
      }, delay);
    }
  };
  var { prototype: prototype3 } = Manager;
  prototype3.connect = prototype3.open;
  prototype3.disconnect = prototype3._close;
  for (const name in SETTINGS) {
    prototype3[name] = function(...value) {
      if (!value.length) return this[`_${name}`];
      [this[`_${name}`]] = value;
      return this;
    };
  }

  // socket.io.js
  var cache = {};
  function io(uri, opts) {
    if (uri && typeof uri === "object") [uri, opts] = [void 0, uri];
    opts = { ...opts };
    const { origin_, path_, query_ } = parseAddress(uri);
    const key = origin_ + (opts.path || "");
    const taken = cache[key]?.nsps[path_];
    let manager;
    opts.query || (opts.query = query_);
    if (opts.forceNew || opts.multiplex === false || taken) manager = new Manager(origin_, opts);
    else manager = cache[key] || (cache[key] = new Manager(origin_, opts));
    return manager.socket(path_, opts);
  }
  var protocol = 5;
  Object.assign(io, { io, connect: io, Manager, Socket, protocol });

  // browser.js
  globalThis.io = io;
})();
