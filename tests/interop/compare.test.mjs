// One scripted client, two servers: the contract on Node's packages, and ours. What it writes down is the same, but for the differences that
// compare/differences.json and docs/differences-from-node.md list, each with its reason: how a step went, or what one value is where another was, in any step.

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

/** Are these alike, if `pairs` of values count as alike? Notes which pairs were needed. */
function alike(node, ours, pairs, used) {
  if (isDeepStrictEqual(node, ours)) return true;
  const pair = pairs.find((one) => isDeepStrictEqual([one.node, one.ours], [node, ours]));
  if (pair) used.add(pair);
  if (pair) return true;
  if (typeof node !== 'object' || typeof ours !== 'object' || node === null || ours === null) return false;
  const keys = Object.keys(node);
  return isDeepStrictEqual(keys, Object.keys(ours)) && keys.every((key) => alike(node[key], ours[key], pairs, used));
}

for (const [name, script] of Object.entries(scripts)) {
  test(name, { timeout: 60_000 }, async () => {
    const [node, ours] = await Promise.all(['node', 'ours'].map(async (which) => {
      const log = new Log();
      await script(log, (profile) => servers[which].url(profile));
      return log.steps;
    }));
    assert.deepEqual([...ours.keys()], [...node.keys()], 'the same steps');
    // A difference is that of a step, or of a value in any of them.
    const expected = isReference ? [] : accepted.filter(({ script: of }) => of === name);
    const steps = expected.filter(({ step }) => step !== undefined);
    const pairs = expected.filter(({ step }) => step === undefined);
    const used = new Set();
    const found = [...node].filter(([step, observed]) => !alike(observed, ours.get(step), pairs, used));
    assert.deepEqual(
      found.map(([step, observed]) => ({ step, node: observed, ours: ours.get(step) })),
      steps.map(({ step, node: theirs, ours: own }) => ({ step, node: theirs, ours: own })),
    );
    for (const pair of pairs) assert.ok(used.has(pair), `no longer needed: ${pair.reason}`);
  });
}

test('every accepted difference is that of a script, and is in the documentation with its reason', () => {
  const documented = readFileSync(new URL('../../docs/differences-from-node.md', import.meta.url), 'utf8');
  const table = documented.split('\n').filter((line) => line.startsWith('| ')).slice(1);
  assert.equal(table.length, accepted.length);
  for (const { script, step, reason } of accepted) {
    assert.ok(scripts[script], script);
    assert.ok(reason?.length > 20 && table.some((line) => line.endsWith(`| ${reason} |`)), `${script}, ${step}`);
  }
});
