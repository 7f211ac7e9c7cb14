// Writes the vectors that the tests of src/wire compare with: what cors, cookie, engine.io-parser 2 and socket.io-msgpack-parser really do.
// `npm ci && npm run record`; the output belongs into the repository.

import { createRequire } from "node:module";
import { writeFileSync } from "node:fs";

const require = createRequire(import.meta.url);
const write = (name, cases) => {
  const lines = cases.map((one) => JSON.stringify(one)).join(",\n");
  const path = new URL(`../../src/wire/${name}/vectors.json`, import.meta.url);
  writeFileSync(path, `[\n${lines}\n]\n`);
};

// ---- engine.io-parser 2: payloads of protocol 3. A packet is [type, text] or [type, {hex}].
const parser = require("engine.io-parser");
const hex = (data) => Buffer.from(data).toString("hex");
const text = (data) => ["message", data];
const binary = (...bytes) => ["message", { hex: hex(bytes) }];
const many = Array.from({ length: 300 }, (_, at) => at % 256);
const payloads = [
  [text("hello")],
  [text("")],
  [["ping", "probe"]],
  [["noop"], ["pong"], ["close"]],
  [["open", '{"sid":"abc"}'], text("0")],
  [text("é"), text("€"), text("😀"), text("a😀é€b")],
  [text("\u0000\u001e:1:")],
  [text("x".repeat(9)), text("x".repeat(98)), text("x".repeat(99)), text("x".repeat(1000))],
  [binary(1, 2, 3, 4)],
  [binary()],
  [binary(255)],
  [binary(...many)],
  [text("51-[\"é😀\",{\"_placeholder\":true,\"num\":0}]"), binary(0, 128, 255), text("€")],
  [text("a"), binary(1), text("b"), binary(2, 2), ["noop"]],
];
const recordPayload = (packets) => {
  const real = packets.map(([type, data]) =>
    ({ type, data: data?.hex === undefined ? data : Buffer.from(data.hex, "hex") }));
  const entry = { packets };
  parser.encodePayload(real, false, (out) => (entry.b64 = hex(out)));
  parser.encodePayload(real, true, (out) => {
    entry.form = typeof out === "string" ? "text" : "binary";
    entry.chosen = hex(out);
  });
  parser.encodePayloadAsBinary(real, (out) => (entry.binary = hex(out)));
  return entry;
};

// What the parser reads in a payload: packets as above, and "error" at the end if it is one.
const recordDecode = (data) => {
  const read = [];
  parser.decodePayload(data, (packet) => {
    if (packet.type === "error") {
      read.push("error");
      return false;
    }
    const binary = Buffer.isBuffer(packet.data);
    read.push(packet.data === undefined ? [packet.type] : [packet.type, binary ? { hex: hex(packet.data) } : packet.data.toWellFormed()]);
  });
  return { form: typeof data === "string" ? "text" : "binary", payload: hex(data), read };
};
const texts = [
  "", "0:", "6:4hello", "6:4hello2:4€", "2:4😀", "3:4😀2:4a", "10:b4AQIDBA==", "2:b4", "1:4", "0:1:6", "1:60:", "001:6",
  "6:4hell", "7:4hello", "6:4hello2", "6:4hello:", ":", ":6", "a:6", "-1:6", "1 :6", "1.5:66", "99999999999999999999:6",
  "1:62:4", "6:4hello6:4hel", "2:4é2:4é",
];
const binaries = [
  "", "0006ff3468656c6c6f", "0006ff3468656c6c6f0104ff04010203", "0101ff04", "0102ff0463", "0004ff34e282ac", "0005ff34f09f9880",
  "0001ff36", "00000001ff36", "0008ff6234415149443d3d",
  "0003ff34e282", "0002ff34ff", "0000ff",
];
write("payload3", [
  ...payloads.map(recordPayload),
  ...texts.map(recordDecode),
  ...binaries.map((data) => recordDecode(Buffer.from(data, "hex"))),
]);

// ---- cors. An origin that is an expression is written {regexp}.
const cors = require("cors");
const A = "https://a.example";
const B = "https://b.example";
const asked = { "access-control-request-method": "POST", "access-control-request-headers": "content-type,x-one" };
const origins = [undefined, "*", A, true, [A], [A, B], [], { regexp: "^https://[ab]\\.example$" }];
const requests = [
  ["GET", { origin: A }],
  ["GET", { origin: "https://c.example" }],
  ["POST", {}],
  ["OPTIONS", { origin: A, ...asked }],
  ["OPTIONS", { origin: "https://c.example", ...asked }],
];
const corsCases = origins.flatMap((origin) => requests.map((request) => [{ origin }, ...request]));
for (const options of [
  { credentials: true },
  { origin: true, credentials: true },
  { origin: [B], credentials: true },
  { methods: ["GET", "POST"] },
  { methods: [] },
  { allowedHeaders: ["x-one", "X-Two"] },
  { allowedHeaders: [] },
  { exposedHeaders: ["x-three", "x-four"] },
  { exposedHeaders: [] },
  { maxAge: 600 },
  { maxAge: 0 },
  { preflightContinue: true, maxAge: 5, origin: true },
  { optionsSuccessStatus: 200 },
  { origin: [A], methods: ["GET"], allowedHeaders: ["x-one"], exposedHeaders: ["x-two"], credentials: true, maxAge: 1, optionsSuccessStatus: 200 },
]) {
  corsCases.push([options, "GET", { origin: A }], [options, "OPTIONS", { origin: A, ...asked }]);
}
corsCases.push(
  [{ origin: true }, "OPTIONS", {}],
  [{ origin: true }, "options", { origin: A }],
  [{ origin: true }, "OPTIONS", { origin: A, "access-control-request-headers": "" }],
  [{ origin: true }, "GET", { origin: "null" }],
  [{ origin: ["null"] }, "GET", { origin: "null" }],
  [{ origin: [A] }, "GET", { origin: A.toUpperCase() }],
  [{ origin: [A] }, "HEAD", { origin: `${A}/` }],
  [{ origin: ["*"] }, "GET", { origin: A }],
);
const recordCors = ([options, method, headers]) => {
  const real = { ...options };
  if (options.origin === undefined) delete real.origin;
  if (options.origin?.regexp) real.origin = new RegExp(options.origin.regexp);
  const set = new Map();
  const res = {
    statusCode: null,
    setHeader: (name, value) => set.set(name, value),
    getHeader: (name) => set.get(name),
    end() { this.ended = true; },
  };
  cors(real)({ method, headers }, res, () => {});
  return { options, method, headers, set: [...set], status: res.ended ? res.statusCode : null };
};
write("cors", corsCases.map(recordCors));

// ---- cookie, with the options as engine.io hands them over.
const cookie = require("cookie");
const cookies = [
  [{}, "abc"],
  [{ path: "/", httpOnly: true, sameSite: "lax" }, "Lbo5JLzTotvW3g2LAAAA"],
  [{ name: "sticky", path: "/chat", httpOnly: true }, "a-b_c"],
  [{ maxAge: 86400 }, "abc"],
  [{ maxAge: 0 }, "abc"],
  [{ maxAge: -1 }, "abc"],
  [{ domain: "example.com" }, "abc"],
  [{ domain: ".example.com" }, "abc"],
  [{ expires: "Wed, 21 Oct 2015 07:28:00 GMT" }, "abc"],
  [{ secure: true, sameSite: "none", partitioned: true }, "abc"],
  [{ sameSite: "strict", priority: "low" }, "abc"],
  [{ priority: "medium" }, "abc"],
  [{ priority: "high" }, "abc"],
  [{ name: "x", path: "/", domain: "a.b", maxAge: 1, expires: "Thu, 01 Jan 1970 00:00:00 GMT", httpOnly: true, secure: true, sameSite: "none", priority: "high", partitioned: true }, "v"],
  [{}, "a b;c,d=e/é😀\"\\%!~*'()"],
  [{}, ""],
  [{ name: "a b" }, "x"],
  [{ name: "" }, "x"],
  [{ name: "a=b" }, "x"],
  [{ path: "/;x" }, "x"],
  [{ path: "/\r\n" }, "x"],
  [{ path: "/é" }, "x"],
  [{ path: "/<" }, "x"],
  [{ domain: "a-b.c" }, "x"],
  [{ domain: "a-.b" }, "x"],
  [{ domain: "a..b" }, "x"],
  [{ domain: "-a.b" }, "x"],
  [{ domain: "a_b" }, "x"],
  [{ domain: "a.b." }, "x"],
  [{ domain: "x".repeat(63) }, "x"],
  [{ domain: "x".repeat(64) }, "x"],
];
const recordCookie = ([options, value]) => {
  const { name = "io", ...rest } = options;
  if (rest.expires) rest.expires = new Date(rest.expires);
  try {
    return { options, value, header: cookie.serialize(name, value, rest) };
  } catch (error) {
    return { options, value, refused: error.message };
  }
};
write("cookie", cookies.map(recordCookie));

// ---- socket.io-msgpack-parser 3 (notepack.io 2). What is sent, byte for byte, and what is read in it: the JSON and the binary values.
const msgpack = require("socket.io-msgpack-parser");
const browserEncode = require("notepack.io/browser/encode");
const encoder = new msgpack.Encoder();
const placed = (data) => {
  const attachments = [];
  const place = (value) => {
    if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) {
      const bytes = value instanceof ArrayBuffer ? value : value.buffer;
      attachments.push(hex(Buffer.isBuffer(value) ? value : new Uint8Array(bytes)));
      return { _placeholder: true, num: attachments.length - 1 };
    }
    if (value instanceof Date || typeof value !== "object" || value === null) return value;
    if (Array.isArray(value)) return value.map(place);
    return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, place(member)]));
  };
  return { json: data === undefined ? null : JSON.stringify(place(data)), attachments };
};
// `exact`: it is what we write, too. The rest has another order of keys, or values that JSON has not.
const recordPacked = (packet, exact = true, encode = (one) => encoder.encode(one)[0]) => {
  const { type, nsp, id = null, data } = packet;
  return { packet: { type, nsp, id, ...placed(data) }, exact, encoded: hex(encode(packet)) };
};
const event = (...data) => ({ type: 2, data: ["e", ...data], nsp: "/" });
const bytes = (length) => Buffer.from(many.concat(many).slice(0, length));
const list = (length) => Array.from({ length }, (_, at) => at % 7);
const object = (length) => Object.fromEntries(list(length).map((value, at) => [`k${at}`, value]));
const integers = [0, 1, 127, 128, 255, 256, 65_535, 65_536, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1, 2 ** 53];
const packed = [
  [{ type: 0, nsp: "/" }],
  [{ type: 0, data: { token: "abc" }, nsp: "/chat" }],
  [{ type: 0, data: { sid: "wZX3oN0bSVIhsaknAAAI" }, nsp: "/" }],
  [{ type: 1, nsp: "/admin?a=b,c" }],
  [{ type: 4, data: { message: "Invalid namespace" }, nsp: "/nope" }],
  [{ type: 4, data: "no", nsp: "/" }],
  [{ type: 3, data: [], nsp: "/", id: 0 }],
  [{ type: 3, data: [1, "a", null], nsp: "/x", id: 2 ** 53 - 1 }],
  [{ type: 2, data: ["ask", 1], nsp: "/", id: 300 }],
  [event()],
  [event(...integers)],
  [event(...integers.map((number) => -number))],
  [event(-0x20, -0x21, -0x80, -0x81, -0x8000, -0x8001, -0x80000000, -0x80000001)],
  [event(0.5, -0.5, 1e-7, 1.5e-300, 0.1, -2.2250738585072014e-308, 5e-324)],
  [event(true, false, null, [], {}, [[]], { a: {} })],
  [event("", "é", "€", "😀", "\u0000\u001f\"\\/\n\u007f", "a".repeat(31), "a".repeat(32), "é".repeat(16), "x".repeat(255), "x".repeat(256))],
  [event(list(15), list(16), list(40), object(15), object(16), object(40))],
  [event(Buffer.from([1, 2, 3]), { deep: [Buffer.alloc(0)] }, bytes(255), bytes(256))],
  [{ type: 3, data: [{ part: Buffer.from("abc") }], nsp: "/", id: 7 }],
  [event({ _placeholder: true, num: 0 })],
  [event({ _placeholder: true, num: 0, more: 1 }, { _placeholder: false, num: 0 }, { num: 0 }, Buffer.from("x"))],
  [event(1, [2, { "é": "€" }]), true, browserEncode],
  [event(new Uint8Array([1, 2, 3]).buffer), true, browserEncode],
  // As clients send them.
  [{ type: 0, data: undefined, options: { compress: true }, nsp: "/" }, false],
  [{ type: 2, data: ["e", 1], options: { compress: true }, id: 1, nsp: "/" }, false],
  [{ id: 9, type: 3, data: [2], nsp: "/chat" }, false],
  [{ type: 2, data: ["e"], id: undefined, nsp: "/" }, false],
  [event(undefined, [undefined, 1], { a: undefined, b: 1, c: undefined }), false],
  [event({ a: undefined }), false],
  [event(NaN, Infinity, -Infinity, [NaN]), false],
  [event(-0, 2 ** 60, 2 ** 63, -(2 ** 60), -(2 ** 63)), false],
  [event(new Date(0), new Date(1), new Date(-1), new Date("2024-02-29T23:59:59.999Z"), { at: new Date("1900-03-01") }), false],
  [event(new Date("0000-01-01"), new Date("-000001-12-31"), new Date("+010000-01-01"), new Date(8.64e15), new Date(-8.64e15)), false],
  [event(...[1600, 1700, 1970, 1999, 2000, 2001, 2100].flatMap((year) => [[0, 1], [1, 28], [1, 29], [2, 1], [11, 31]]
    .map(([month, day]) => new Date(Date.UTC(year, month, day, 1, 2, 3, 4))))), false],
  [event(new Uint8Array([1, 2, 3]), new Uint8Array(300), new Uint8Array(8)), false],
];
const recordRefusal = (encoded) => {
  const decoder = new msgpack.Decoder();
  try {
    decoder.add(Buffer.from(encoded, "hex"));
    return { encoded, accepted: true };
  } catch (error) {
    return { encoded, accepted: false, why: error.message };
  }
};
const raw = (packet) => hex(encoder.encode(packet)[0]);
const questionable = [
  "", "80", "90", "c0", "02", "a3616263", "c1", "df00000000", "81a474797065", "83a474797065",
  ...[-1, 5, 6, 1.5, "2", null, true].map((type) => raw({ type, data: ["e"], nsp: "/" })),
  ...[null, 1, undefined, ["/"], Buffer.from("/")].map((nsp) => raw({ type: 2, data: ["e"], nsp })),
  ...[null, "1", 1.5, true, []].map((id) => raw({ type: 2, data: ["e"], nsp: "/", id })),
  ...[undefined, null, "e", 1, {}, Buffer.from("e"), new Date(0)].flatMap((data) => [0, 1, 2, 3, 4].map((type) => raw({ type, data, nsp: "/" }))),
  ...[0, 1, 4].map((type) => raw({ type, data: ["e"], nsp: "/" })),
  `${raw(event(1))}00`, raw(event(1)).slice(0, -2), `dd${"f".repeat(8)}`, `df${"f".repeat(8)}`,
  "83a47479706502a3" + "6e7370a12fa464617461dd7fffffffa165",
];
write("msgpack", [...packed.map((one) => recordPacked(...one)), ...questionable.map(recordRefusal)]);
