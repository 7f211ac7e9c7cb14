// Socket.IO packets, protocol revision 5: `<type>[<attachments>-][<namespace>,][<ack id>][<JSON>]`, and the attachments.

import { isBinary } from './binary.js';
import { Emitter } from './emitter.js';

export const CONNECT = 0;
export const DISCONNECT = 1;
export const EVENT = 2;
export const ACK = 3;
export const CONNECT_ERROR = 4;
/** What is added to EVENT and ACK when there are attachments. */
const BINARY = 3;

/** As many as the official parsers take, and so does Ringhall. */
const ATTACHMENTS_MAX = 10;

/** Names that a program cannot send, and a peer must not. */
export const RESERVED = ['connect', 'connect_error', 'disconnect', 'disconnecting', 'newListener', 'removeListener'];

export class Encoder {
  /** The text, and the attachments in their order. */
  encode({ type, nsp, id = '', data }) {
    const attachments = [];
    const json = JSON.stringify(data, function (key, value) {
      // `this` has the value as it was before its `toJSON`, which a Buffer has.
      const binary = [this[key], value].find(isBinary);
      return binary ? { _placeholder: true, num: attachments.push(binary) - 1 } : value;
    });
    const count = attachments.length;
    const head = count ? `${type + BINARY}${count}-` : type;
    return [`${head}${nsp === '/' ? '' : `${nsp},`}${id}${json ?? ''}`, ...attachments];
  }
}

export class Decoder extends Emitter {
  /** Takes what one Engine.IO message brought, emits `decoded` when a packet is whole, and throws if it is none. */
  add(data) {
    const { waiting_ } = this;
    if (typeof data === 'string') {
      if (waiting_) throw new Error('text instead of an attachment');
      this.text_(data);
    } else {
      if (!isBinary(data) || !waiting_) throw new Error('binary without a packet');
      waiting_.attachments_.push(data);
      if (waiting_.attachments_.length === waiting_.count_) {
        this.waiting_ = 0;
        this.whole_(waiting_, waiting_.attachments_);
      }
    }
  }

  text_(text) {
    const [head, type, count, nsp = '/', id] = /^([0-6])(?:(\d+)-)?(\/[^,]*)?,?(\d+)?/.exec(text) || [];
    const packet = { type: +type, nsp, text_: text.slice(head?.length), count_: +count, attachments_: [] };
    if (!head || (type > 4 ? !(count > 0 && count <= ATTACHMENTS_MAX) : count)) throw new Error('invalid packet');
    if (id) packet.id = +id;
    if (count) this.waiting_ = packet;
    else this.whole_(packet);
  }

  whole_({ type, nsp, id, text_ }, attachments) {
    const packet = { type: type > 4 ? type - BINARY : type, nsp };
    if (id !== undefined) packet.id = id;
    if (text_) {
      packet.data = JSON.parse(text_, attachments && ((_, value) => {
        if (value?._placeholder !== true) return value;
        if (typeof value.num !== 'number' || !attachments[value.num]) throw new Error('illegal attachments');
        return attachments[value.num];
      }));
      if (!isFitting(packet)) throw new Error('invalid payload');
    }
    this.emit('decoded', packet);
  }

  /** Forgets a packet that is not whole. */
  destroy() {
    this.waiting_ = 0;
  }
}

function isFitting({ type, data }) {
  if (type === DISCONNECT) return false;
  if (type === CONNECT_ERROR && typeof data === 'string') return true;
  if (type === CONNECT || type === CONNECT_ERROR) return data && typeof data === 'object';
  if (!Array.isArray(data) || type === ACK) return Array.isArray(data);
  return typeof data[0] === 'number' || (typeof data[0] === 'string' && !RESERVED.includes(data[0]));
}
