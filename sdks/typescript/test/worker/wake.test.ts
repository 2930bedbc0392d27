import assert from 'node:assert/strict';
import { test } from 'node:test';

import { LeaseTable } from '../../src/worker/lease-table.js';
import { Backoff, pause, Wake } from '../../src/worker/wake.js';

test('pauses double up to the longest, and begin anew after a success', () => {
  const backoff = new Backoff(250, 2000, () => 0.5);
  assert.deepEqual(
    [1, 2, 3, 4, 5].map(() => backoff.next()),
    [250, 500, 1000, 2000, 2000],
  );
  backoff.reset();
  assert.equal(backoff.next(), 250);
});

test('pauses differ by a fifth at most, and are as long as the server asks', () => {
  assert.equal(new Backoff(250, 2000, () => 0).next(), 200);
  assert.equal(Math.round(new Backoff(250, 2000, () => 1).next()), 300);
  assert.equal(new Backoff(250, 2000, () => 1).next(7), 7000);
});

test('what happens before somebody waits is not lost, and is told once', async () => {
  const wake = new Wake();
  wake.set();
  assert.equal(await wake.wait(10_000), true);
  assert.equal(await wake.wait(1), false);
});

test('a wait ends when it happens', async () => {
  const wake = new Wake();
  const waiting = wake.wait(10_000);
  wake.set();
  assert.equal(await waiting, true);
});

test('a pause ends early when its signal aborts', async () => {
  const stop = new AbortController();
  const paused = pause(10_000_000, stop.signal);
  stop.abort();
  await paused;
  await pause(10_000_000, stop.signal);
});

test('a table of leases is read as it was written, through shared memory', () => {
  const table = new LeaseTable(2);
  const one = { step_uuid: '0192f0c1-2d3e-7a4b-8c5d-6e7f80000001', lease_id: 17 };
  const other = { step_uuid: '0192f0c1-2d3e-7a4b-8c5d-6e7f80000002', lease_id: 2 ** 52 };
  table.add(one);
  table.add(other);
  const reader = new LeaseTable(table.memory);
  assert.deepEqual(reader.read(), [one, other]);
  assert.throws(() => table.add({ ...one, lease_id: 18 }), RangeError);
  table.remove(17);
  table.remove(99);
  assert.deepEqual(reader.read(), [other]);
  table.add({ ...one, lease_id: 18 });
  assert.deepEqual(reader.read(), [{ ...one, lease_id: 18 }, other]);
});
