// The contract program for the suites that drive it: `examples/contract.rs`, or node-contract.mjs with RINGHALL_REFERENCE=1.
//
//   RINGHALL_CONTRACT_BIN   the example `contract` (default: target/debug/examples/contract)
//   RINGHALL_CORES          the cores of each of its servers (default: 1)

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { Clients, isReference, repository, within } from './harness.mjs';

const here = path.dirname(fileURLToPath(import.meta.url));

/** The profiles' distances from the base port. */
export const OFFSETS = {
  main: 0, 'eio-suite': 1, 'sio-suite': 2, 'client-suite': 3, fast: 4, csr: 5, msgpack: 6, eio3: 7, deflate: 8, alt: 9, wsonly: 10, admin: 11,
  'eio-v3-suite': 12, closing: 13, raw: 17,
};
const SPAN = 20;

// Below the ports that the system gives to clients.
const LOWEST = 12_000;
const HIGHEST = 32_000;
const ATTEMPTS = 10;

function commandLine(program, basePort) {
  const byNode = program === 'node';
  const file = byNode ? process.execPath : process.env.RINGHALL_CONTRACT_BIN ?? path.resolve(repository, 'target/debug/examples/contract');
  const first = byNode ? [path.join(here, 'node-contract.mjs')] : [];
  return [file, [...first, '--base-port', `${basePort}`, '--cores', process.env.RINGHALL_CORES ?? '1']];
}

const children = new Set();
process.on('exit', () => { for (const child of children) child.kill('SIGKILL'); });

async function attempt(program, basePort) {
  const [file, args] = commandLine(program, basePort);
  const child = spawn(file, args, { cwd: repository, stdio: ['ignore', 'pipe', 'pipe'] });
  children.add(child);
  child.once('exit', () => children.delete(child));
  let complaints = '';
  child.stderr.setEncoding('utf8').on('data', (text) => { complaints += text; });
  const ready = new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => reject(new Error(`${file} ended at once: ${code ?? signal}\n${complaints}`)));
    createInterface({ input: child.stdout }).on('line', (line) => { if (line === 'ready') resolve(); });
  });
  try {
    await within(ready, `${file} prints "ready"`);
    child.stderr.removeAllListeners('data').pipe(process.stderr);
    return child;
  } catch (error) {
    child.kill('SIGKILL');
    throw error;
  }
}

/** A running contract: the addresses of its profiles, and clients for them. */
class Contract {
  #child;
  #basePort;
  #clients = new Map();

  constructor(child, basePort) {
    this.#child = child;
    this.#basePort = basePort;
  }

  port(profile) {
    return this.#basePort + OFFSETS[profile];
  }

  url(profile) {
    return `http://127.0.0.1:${this.port(profile)}`;
  }

  ws(profile, route) {
    return `ws://127.0.0.1:${this.port(profile)}${route}`;
  }

  clients(profile) {
    if (!this.#clients.has(profile)) this.#clients.set(profile, new Clients({ url: this.url(profile) }));
    return this.#clients.get(profile);
  }

  /** A connected socket of the profile. */
  connect(profile, namespace, options) {
    return this.clients(profile).connect(namespace, options);
  }

  closeClients() {
    for (const clients of this.#clients.values()) clients.close();
  }

  async stop() {
    this.closeClients();
    const exited = once(this.#child, 'exit');
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.kill('SIGKILL');
    await exited;
  }
}

/** Starts it on ports that are free. `program`: "node" or "ours". */
export async function startContract(program = isReference ? 'node' : 'ours') {
  for (let tries = 1; ; tries += 1) {
    const basePort = LOWEST + SPAN * Math.floor(Math.random() * ((HIGHEST - LOWEST) / SPAN));
    try {
      return new Contract(await attempt(program, basePort), basePort);
    } catch (error) {
      const taken = /in use|EADDRINUSE/.test(error.message);
      if (!taken || tries === ATTEMPTS) throw error;
    }
  }
}

/** What a poll of Engine.IO answers, and its packets. */
export async function poll(url, { path: at = '/socket.io/', query = {}, ...init } = {}) {
  const address = `${url}${at}?${new URLSearchParams({ EIO: '4', transport: 'polling', ...query })}`;
  const response = await fetch(address, init);
  return { status: response.status, headers: response.headers, body: await response.text() };
}

/** The open packet of a new session on polling. */
export async function openSession(url, more) {
  const { status, body } = await poll(url, more);
  if (status !== 200 || body[0] !== '0') throw new Error(`no session: ${status} ${body}`);
  return JSON.parse(body.slice(1));
}

export const sleep = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });
