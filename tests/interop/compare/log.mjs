// What a scripted client writes down, in a form in which two servers can be compared.

import WebSocket from 'ws';
import { poll } from '../contract.mjs';
import { within } from '../harness.mjs';

/** Steps with what was observed; names and times that differ from run to run are numbered as they come up. */
export class Log {
  #steps = new Map();
  #names = new Map();

  /** Numbers begin anew with each step. */
  note(step, observed) {
    this.#names.clear();
    if (this.#steps.has(step)) throw new Error(`two steps are called "${step}"`);
    this.#steps.set(step, this.#plain(observed));
  }

  get steps() {
    return this.#steps;
  }

  /** Ids of sockets and sessions become `<1>`, `<2>`, …, also within texts; binaries say that they are. */
  #plain(value) {
    if (typeof value === 'string') return value.replace(/(?<![\w-])[\w-]{16}AA[\w-]{2}(?![\w-])|(?<![\w-])(?=[\w-]*[A-Z])[\w-]{20}(?![\w-])/g, (name) => this.#numbered(name));
    if (value instanceof Uint8Array || value instanceof ArrayBuffer) return `binary ${Buffer.from(value).toString('hex')}`;
    if (Array.isArray(value)) {
      const plain = value.map((element) => this.#plain(element));
      // Rooms come sorted, with an id among them: anywhere.
      return value.every((element) => typeof element === 'string') && plain.some((element) => /^<\d+>$/.test(element)) ? plain.sort() : plain;
    }
    if (value === undefined) return 'undefined';
    if (value instanceof Date) return `date ${value.toISOString()}`;
    if (value === null || typeof value !== 'object') return value;
    return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, this.#plain(member)]));
  }

  #numbered(name) {
    if (!this.#names.has(name)) this.#names.set(name, `<${this.#names.size + 1}>`);
    return this.#names.get(name);
  }
}

/** A session on a websocket, packet by packet. */
export class Wire {
  constructor(url, query = {}, options = {}) {
    const { protocols, ...rest } = options;
    const parameters = new URLSearchParams({ EIO: '4', transport: 'websocket', ...query });
    this.packets = [];
    this.socket = new WebSocket(`${url.replace(/^http/, 'ws')}/socket.io/?${parameters}`, protocols, rest);
    this.socket.on('message', (data, binary) => {
      this.packets.push(binary ? data : data.toString());
      this.wake?.();
    });
    this.socket.on('error', () => {});
    this.closed = new Promise((resolve) => {
      this.socket.on('close', (code) => {
        this.end = `closed ${code}`;
        resolve(this.end);
        this.wake?.();
      });
    });
  }

  /** Waits for the n-th packet, or the end. */
  async until(count) {
    const filled = async () => {
      while (this.packets.length < count && !this.end) await new Promise((resolve) => { this.wake = resolve; });
    };
    await within(filled(), `${count} packets`);
    return this.packets;
  }

  /** Opened, and in the namespace `/`. */
  static async connected(url, query, hello = '40') {
    const wire = new Wire(url, query);
    await wire.until(1);
    wire.socket.send(hello);
    await wire.until(2);
    const [, id] = wire.packets[1].match(/"sid":"([^"]+)"/) ?? [];
    wire.id = id;
    wire.packets.splice(0);
    return wire;
  }

  send(...packets) {
    for (const packet of packets) this.socket.send(packet);
  }

  /** What came until the server had handled all that was sent, or ended the session. Twice, since Node lets clients in a little later. */
  async outcome() {
    const fences = ['43990["fence"]', '43991["fence"]'];
    for (const fence of fences) {
      this.send(fence.replace('43', '42').replace('[', '["echo-ack",'));
      const past = async () => {
        while (!this.end && !this.packets.includes(fence)) await new Promise((resolve) => { this.wake = resolve; });
      };
      await within(past(), 'the fence, or the end');
    }
    const came = this.packets.filter((packet) => !fences.includes(packet) && packet !== '2');
    return this.end ? [...came, this.end] : came;
  }
}

/** A session on polling, packet by packet. */
export class Poll {
  static async opened(url, hello = '40') {
    const session = new Poll();
    const { body } = await poll(url);
    session.url = url;
    session.sid = JSON.parse(body.slice(1)).sid;
    if (hello) {
      await session.post(hello);
      await session.get();
    }
    return session;
  }

  async post(body, init = {}) {
    const { status, body: answer } = await poll(this.url, { query: { sid: this.sid }, method: 'POST', body, ...init });
    return [status, answer];
  }

  async get() {
    const { status, body } = await poll(this.url, { query: { sid: this.sid } });
    return [status, body];
  }

  /** The packets of as many polls as it takes until the server has handled what was posted before, or how it ended. */
  async drained() {
    await this.post('4299["echo-ack","fence"]');
    const packets = [];
    for (;;) {
      const [status, body] = await this.get();
      if (status !== 200) return [...packets, [status, body]];
      packets.push(...body.split('\x1e'));
      if (packets.includes('4399["fence"]')) return packets.filter((packet) => packet !== '4399["fence"]');
    }
  }
}
