// One scripted client, two servers: the contract on Node's packages, and ours. What it writes down is the same, but for the differences that
// compare/differences.json lists with their reasons, as the documentation does.
//
// By hand: `node compare.test.mjs` prints what differs.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import * as events from './compare/scripts-events.mjs';
import * as wire from './compare/scripts-wire.mjs';
import { Log } from './compare/log.mjs';
import { startContract } from './contract.mjs';
import { isReference } from './harness.mjs';

const accepted = JSON.parse(readFileSync(new URL('./compare/differences.json', import.meta.url)));
const scripts = { ...wire, ...events };
const servers = {};

before(async () => {
  servers.node = await startContract('node');
  // With the reference in the place of ours nothing may differ at all: the scripts themselves say the same twice.
  servers.ours = await startContract(isReference ? 'node' : 'ours');
});
after(() => Promise.all(Object.values(servers).map((server) => server.stop())));

for (const [name, script] of Object.entries(scripts)) {
  test(name, { timeout: 60_000 }, async () => {
    const [node, ours] = await Promise.all(['node', 'ours'].map(async (which) => {
      const log = new Log();
      await script(log, (profile) => servers[which].url(profile));
      return log.steps;
    }));
    const expected = isReference ? [] : accepted.filter(({ script: of }) => of === name);
    const differing = [...node].filter(([step, observed]) => !isDeepStrictEqual(observed, ours.get(step)));
    const found = differing.map(([step, observed]) => ({ step, node: observed, ours: ours.get(step) }));
    const listed = expected.map(({ step, node: theirs, ours: own }) => ({ step, node: theirs, ours: own }));
    assert.deepEqual(found, listed, JSON.stringify(found, null, 1));
    assert.deepEqual([...ours.keys()], [...node.keys()], 'the same steps');
  });
}

test('every accepted difference has a reason, and a script', () => {
  for (const { script, step, reason } of accepted) {
    assert.ok(reason?.length > 20, `${script}, ${step}`);
    assert.ok(scripts[script], script);
  }
});
