// Listeners by event name; what Engine, Manager and Socket have in common.
//
// Everywhere in this client a name that ends in `_` is our own business: the build shortens it.

/** Calls each of them. What one throws is its own affair: neither the others nor the connection suffer from it. */
export function callAll(listeners, self, args) {
  for (const listener of listeners) {
    try {
      listener.apply(self, args);
    } catch (error) {
      setTimeout(() => { throw error; });
    }
  }
}

export class Emitter {
  constructor() {
    this.listeners_ = new Map();
  }

  on(event, listener) {
    this.listeners_.set(event, [...this.listeners(event), listener]);
    return this;
  }

  once(event, listener) {
    const once = function (...args) {
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
    } else if (event === undefined) {
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
}

const { prototype } = Emitter;
prototype.emit = prototype.fire_;
prototype.addEventListener = prototype.on;
prototype.removeListener = prototype.removeAllListeners = prototype.removeEventListener = prototype.off;
