// The `ringhall` binary as a program: what it prints, which options it takes, and how it refuses.

import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { call, Clients, eventually, isReference, program, repository, startServer } from './harness.mjs';

/** Whether the process has a handler for this signal. */
function caught(pid, signal) {
  const [, mask] = readFileSync(`/proc/${pid}/status`, 'utf8').match(/^SigCgt:\s*([0-9a-f]+)/m);
  return (BigInt(`0x${mask}`) >> BigInt(signal - 1)) % 2n === 1n;
}

describe('the program', { skip: isReference && 'Node has another' }, () => {
  let server;
  before(async () => {
    server = await startServer('lobby', { args: ['--listen', '127.0.0.1:0', '--cores', '2'] });
  });
  after(() => server?.stop());

  /** Runs it to its end, which must come by itself. */
  function run(...args) {
    const [file, ...first] = program('lobby');
    return spawnSync(file, [...first, ...args], { encoding: 'utf8', timeout: 10_000 });
  }

  test('prints each address with its real port, and the number of cores', async () => {
    const addresses = () => server.output.join('\n').match(/http:\/\/127\.0\.0\.1:\d+/g) ?? [];
    const found = await eventually(addresses, ({ length }) => length >= 2, 'two addresses');
    assert.equal(new Set(found).size, 2);
    found.forEach((url) => assert.ok(Number(new URL(url).port) > 0));
    await eventually(() => server.output.join('\n'), (text) => /\b2 cores\b/.test(text), 'the number of cores');
  });

  test('clients of both addresses are in one lobby', async () => {
    const urls = server.output.join('\n').match(/http:\/\/127\.0\.0\.1:\d+/g);
    const groups = urls.map((url) => new Clients({ url }));
    try {
      const [a] = await Promise.all(groups.map((clients) => clients.connect('/both')));
      assert.equal(await call(a, 'anyone?'), 1);
    } finally {
      groups.forEach((clients) => clients.close());
    }
  });

  test('`ringhall serve` is the same as `ringhall`', async () => {
    const served = await startServer('lobby', { first: ['serve'] });
    assert.equal((await fetch(`${served.url}/`)).status, 200);
    assert.equal((await served.stop()).code, 0);
  });

  test('--client-dir serves the official bundles', async () => {
    const dir = path.join(repository, 'tests/interop/node_modules/socket.io/client-dist');
    const official = await startServer('lobby', { args: ['--client-dir', dir] });
    try {
      for (const name of ['socket.io.min.js', 'socket.io.msgpack.min.js', 'socket.io.js.map']) {
        const served = await (await fetch(`${official.url}/socket.io/${name}`)).text();
        assert.equal(served, readFileSync(path.join(dir, name), 'utf8'), name);
      }
    } finally {
      await official.stop();
    }
  });

  test('nobody needs to read what it prints', async () => {
    const [file, ...first] = program('lobby');
    const unread = spawn(file, [...first, '--listen', '127.0.0.1:0'], { stdio: ['ignore', 'pipe', 'pipe'] });
    try {
      unread.stdout.destroy();
      let complaints = '';
      unread.stderr.setEncoding('utf8').on('data', (text) => { complaints += text; });
      // Ended by this signal alone once it has caught it, which is before it prints.
      const ended = once(unread, 'exit');
      await eventually(
        () => unread.exitCode !== null || caught(unread.pid, 15),
        (is) => is,
        'the program catches SIGTERM',
      );
      unread.kill('SIGTERM');
      const [code] = await ended;
      assert.equal(code, 0, complaints);
    } finally {
      unread.kill('SIGKILL');
    }
  });

  test('an address that another server uses is refused, not shared', () => {
    const { status, stderr } = run('--listen', `127.0.0.1:${server.port}`);
    assert.ok(status > 0, `status ${status}`);
    assert.match(stderr, new RegExp(`127\\.0\\.0\\.1:${server.port}`));
    assert.match(stderr, /already/);
  });

  test('what cannot be meant is refused with the name of the option', () => {
    for (const [option, value] of [['--client-dir', 'no/such'], ['--cores', '0'], ['--cores', 'many'], ['--max-message', '-1'], ['--listen', 'nowhere'], ['--no-such', '1']]) {
      const { status, stderr } = run('--listen', '127.0.0.1:0', `${option}=${value}`);
      assert.ok(status > 0, `${option} ${value}: status ${status}`);
      assert.ok(stderr.replaceAll('_', '-').includes(option.slice(2)), `${option} ${value}: ${stderr}`);
    }
  });

  test('a folder that is not there is told from one without scripts', () => {
    for (const [dir, words] of [['no/such', /No such file/], [repository, /socket\.io\.min\.js/]]) {
      const { status, stderr } = run('--listen', '127.0.0.1:0', '--client-dir', dir);
      assert.ok(status > 0 && words.test(stderr) && stderr.includes(dir), stderr);
    }
  });

  test('--help and --version', () => {
    const help = run('--help');
    assert.equal(help.status, 0);
    for (const option of ['--listen', '--tls-cert', '--client-dir', '--cores', '--max-message']) assert.ok(help.stdout.includes(option), option);
    const version = run('--version');
    assert.equal(version.status, 0);
    assert.match(version.stdout, /^ringhall \d+\.\d+\.\d+/);
  });
});
