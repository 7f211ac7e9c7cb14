// Bytes: what counts as binary, and base64.

/** Buffer (a Uint8Array), ArrayBuffer, any view, Blob and File. */
export function isBinary(value) {
  return value instanceof ArrayBuffer || ArrayBuffer.isView(value) || value instanceof Blob;
}

/** A text's length in UTF-8, or that of binary in base64, with one character for its type. */
export function encodedLength(data = '') {
  if (typeof data === 'string') return new TextEncoder().encode(data).length + 1;
  return Math.ceil((data.byteLength ?? data.size) / 3) * 4 + 1;
}

/** A string, or the promise of one for a Blob. */
export function toBase64(data) {
  if (data.arrayBuffer) return data.arrayBuffer().then(toBase64);
  const bytes = ArrayBuffer.isView(data) ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength) : new Uint8Array(data);
  let text = '';
  // In pieces: the number of arguments of one call is limited.
  for (let at = 0; at < bytes.length; at += 4096) text += String.fromCharCode(...bytes.subarray(at, at + 4096));
  return btoa(text);
}

export function fromBase64(text) {
  return received(Uint8Array.from(atob(text), (character) => character.charCodeAt()).buffer);
}

/** What a listener gets: an ArrayBuffer, or under Node a Buffer, as from the official client. */
export function received(buffer) {
  return globalThis.process?.versions?.node ? globalThis.Buffer.from(buffer) : buffer;
}
