// Writes the vectors that the tests of src/wire compare with: what cors, cookie and engine.io-parser 2 really do.
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
