// Engine.IO packets, protocol revision 4: `<type digit>[data]`, and binary.

import { fromBase64, received, toBase64 } from './binary.js';

const TYPES = ['open', 'close', 'ping', 'pong', 'message', 'upgrade', 'noop'];

/** What goes over the wire: a string or binary, or without `binary` a string or the promise of one. */
export function encodePacket({ type, data = '' }, binary) {
  if (typeof data === 'string') return TYPES.indexOf(type) + data;
  if (binary) return data;
  const text = toBase64(data);
  return text.then ? text.then((text) => `b${text}`) : `b${text}`;
}

/** Whatever is no packet is one of type "error". */
export function decodePacket(data) {
  if (typeof data !== 'string') return { type: 'message', data: received(data) };
  const type = TYPES[data[0]];
  const rest = data.slice(1);
  try {
    if (data[0] === 'b') return { type: 'message', data: fromBase64(rest) };
    if (type === 'open') JSON.parse(rest);
    if (type) return rest ? { type, data: rest } : { type };
  } catch {
    // neither base64 nor a handshake
  }
  return { type: 'error', data: 'parser error' };
}
