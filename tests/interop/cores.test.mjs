// Two cores, a hundred clients: nothing is lost, nothing comes twice, and each sender's order is kept.
//
// The kernel spreads connections over the cores by a hash of their ports; that a hundred of them all fall on one core
// does not happen (2 in 2^100).

import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { call, Clients, collect, cores, cut, startServer, within } from './harness.mjs';

const GROUP = 50;
const BROADCASTS = 1000; // of each group
const SENDERS = 10; // of each group
const EACH = BROADCASTS / SENDERS;

let server;
let clients;

before(async () => {
  server = await startServer('lobby', { args: ['--cores', `${cores}`] });
  clients = new Clients(server);
});
afterEach(() => clients.close());
after(() => server?.stop());

let nr = 0;
function twoGroups() {
  nr += 1;
  return clients.connectMany(2 * GROUP, `/cores-${nr}`);
}

/**
 * What a receiver saw of each sender must be exactly 0, 1, 2, … and then the end mark. As a sender's order is kept,
 * nothing of a sender can come after its end mark, and a message too many would stand before it.
 */
class Tally {
  constructor(socket, senders) {
    this.next = new Map(senders.map((sender) => [sender, 0]));
    this.wrong = [];
    this.done = new Promise((resolve) => {
      let open = senders.filter((sender) => sender !== socket.id).length;
      socket.on('n', (sender, n) => this.#count(sender, n));
      socket.on('end', (sender) => {
        if (!this.next.has(sender)) return;
        if (this.next.get(sender) !== EACH) this.wrong.push(`${this.next.get(sender)} of ${EACH} before the end`);
        this.next.set(sender, 'ended');
        open -= 1;
        if (open === 0) resolve();
      });
    });
  }

  #count(sender, n) {
    const expected = this.next.get(sender);
    if (n === expected) this.next.set(sender, n + 1);
    else this.wrong.push(`${n} of ${sender} instead of ${expected}`);
  }
}

const everybody = (tallies) => within(Promise.all(tallies.map(({ done }) => done)), 'all end marks', 120_000);

test('2 × 50 clients in one room × 1,000 broadcasts of each group', { timeout: 180_000 }, async () => {
  const all = await twoGroups();
  await Promise.all(all.map((socket) => call(socket, 'join', 'hall')));
  const senders = [...all.slice(0, SENDERS), ...all.slice(GROUP, GROUP + SENDERS)];
  const tallies = all.map((socket) => new Tally(socket, senders.map(({ id }) => id)));

  const padding = '·'.repeat(50);
  for (let n = 0; n < EACH; n += 1) {
    for (const sender of senders) sender.emit('to', 'hall', 'n', sender.id, n, padding);
    if (n % 10 === 9) await Promise.all(senders.map((sender) => call(sender, 'rooms'))); // lets the clients read, too
  }
  const receivers = await Promise.all(senders.map((sender) => call(sender, 'to', 'hall', 'end', sender.id)));
  assert.deepEqual(new Set(receivers), new Set([2 * GROUP - 1]), 'all but the sender hear it');
  await everybody(tallies);
  tallies.forEach(({ wrong }, i) => assert.deepEqual(wrong, [], `client ${i}`));
});

test('two rooms at once, 1,000 broadcasts in each: nobody hears the other room', { timeout: 180_000 }, async () => {
  const all = await twoGroups();
  const rooms = [
    { name: 'red', members: all.slice(0, GROUP) },
    { name: 'blue', members: all.slice(GROUP) },
  ];
  await Promise.all(rooms.flatMap(({ name, members }) => members.map((socket) => call(socket, 'join', name))));
  const tallies = rooms.flatMap(({ members }) => {
    const senders = members.slice(0, SENDERS).map(({ id }) => id);
    return members.map((socket) => new Tally(socket, senders));
  });

  for (let n = 0; n < EACH; n += 1) {
    for (const { name, members } of rooms) {
      for (const sender of members.slice(0, SENDERS)) sender.emit('to', name, 'n', sender.id, n);
    }
    if (n % 10 === 9) await call(all[0], 'rooms');
  }
  // The end marks go to the whole namespace: a message that leaked into the other room would have come before them.
  const senders = rooms.flatMap(({ members }) => members.slice(0, SENDERS));
  const ends = all.map((socket) => collect(socket, 'end'));
  const receivers = await Promise.all(senders.map((sender) => call(sender, 'end', sender.id)));
  assert.deepEqual(new Set(receivers), new Set([2 * GROUP - 1]));
  await everybody(tallies);
  for (const [i, at] of ends.entries()) await at.until(senders.length - (senders.includes(all[i]) ? 1 : 0));
  tallies.forEach(({ wrong }, i) => assert.deepEqual(wrong, [], `tally ${i}`));
});

test('who has joined is reached at once from any core, who has left is not', { timeout: 60_000 }, async () => {
  const all = await twoGroups();
  for (let round = 0; round < 300; round += 1) {
    const member = all[round % all.length];
    const sender = all[(round * 7 + 13) % all.length];
    if (member === sender) continue;
    const room = `round-${round % 3}`; // few rooms: a core's interest in them comes and goes
    const heard = collect(member, `hear-${round}`);
    await call(member, 'join', room);
    assert.equal(await call(sender, 'to', room, `hear-${round}`), 1, `round ${round}: after the join`);
    await heard.until(1);
    await call(member, 'leave', room);
    assert.equal(await call(sender, 'to', room, `hear-${round}`), 0, `round ${round}: after the leave`);
    await call(member, 'rooms');
    assert.equal(heard.seen.length, 1, `round ${round}: nothing after the leave`);
  }
});

test('clients that come and go disturb nobody', { timeout: 120_000 }, async () => {
  nr += 1;
  const namespace = `/cores-${nr}`;
  const steady = await clients.connectMany(20, namespace);
  await Promise.all(steady.map((socket) => call(socket, 'join', 'hall')));
  const senders = steady.slice(0, SENDERS);
  const tallies = steady.map((socket) => new Tally(socket, senders.map(({ id }) => id)));

  let churning = true;
  const churn = async () => {
    for (let visit = 0; churning; visit += 1) {
      const guest = await clients.connect(namespace);
      await call(guest, 'join', 'hall');
      if (visit % 2) guest.disconnect();
      else cut(guest);
    }
  };
  const guests = [churn(), churn(), churn(), churn()];
  for (let n = 0; n < EACH; n += 1) {
    for (const sender of senders) sender.emit('to', 'hall', 'n', sender.id, n);
    await call(steady[n % steady.length], 'rooms');
  }
  churning = false;
  await Promise.all(guests);
  for (const sender of senders) sender.emit('to', 'hall', 'end', sender.id);
  await everybody(tallies);
  tallies.forEach(({ wrong }, i) => assert.deepEqual(wrong, [], `client ${i}`));
});
