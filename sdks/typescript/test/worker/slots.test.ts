import assert from 'node:assert/strict';
import { test } from 'node:test';

import { type Ending, Slots } from '../../src/worker/slots.js';
import { leaseOf } from './fake-server.js';

const lease = (id: number) => leaseOf(id, 'any');
const ending = (text = '{}'): Ending => ({ kind: 'succeeded', text, bytes: Buffer.byteLength(text) });
const idsOf = (leases: readonly { lease_id: number }[]) => leases.map((each) => each.lease_id);

test('a step takes up a slot from its grant until it is forgotten', () => {
  const slots = new Slots(2);
  assert.deepEqual(idsOf(slots.admit([lease(1)]).started), [1]);
  assert.equal(slots.free, 1);
  slots.end(1, ending());
  assert.equal(slots.free, 1);
  slots.takeEnded(10, 1000);
  assert.equal(slots.free, 1);
  slots.forget([1]);
  assert.equal(slots.free, 2);
});

test('promised slots are not free, and never less than none are', () => {
  const slots = new Slots(3);
  slots.promise(2);
  assert.equal(slots.free, 1);
  slots.admit([lease(1), lease(2)]);
  assert.equal(slots.free, 0);
  slots.unpromise(2);
  assert.equal(slots.free, 1);
});

test('more steps than slots are not started', () => {
  const slots = new Slots(2);
  const { started, excess } = slots.admit([lease(1), lease(2), lease(3)]);
  assert.deepEqual([idsOf(started), idsOf(excess)], [[1, 2], [3]]);
});

test('a lease is started once, even if an answer names it again after it is over', () => {
  const slots = new Slots(2);
  slots.admit([lease(1)]);
  assert.deepEqual(slots.admit([lease(1)]).started, []);
  slots.forget([1]);
  assert.deepEqual(slots.admit([lease(1)]).started, []);
});

test('the result of a step that is not held any more waits for nothing', () => {
  const slots = new Slots(1);
  slots.admit([lease(1)]);
  slots.forget([1]);
  assert.equal(slots.end(1, ending()), false);
  assert.deepEqual(slots.takeEnded(10, 1000), []);
});

test('a lost step takes its waiting result along', () => {
  const slots = new Slots(2);
  slots.admit([lease(1), lease(2)]);
  slots.end(1, ending());
  slots.end(2, ending());
  assert.deepEqual(slots.forget([1]), []);
  assert.deepEqual(
    slots.takeEnded(10, 1000).map((attempt) => attempt.lease.lease_id),
    [2],
  );
});

test('forgetting tells which handlers were still running', () => {
  const slots = new Slots(2);
  slots.admit([lease(1), lease(2)]);
  slots.end(1, ending());
  assert.deepEqual(idsOf(slots.forget(slots.ids())), [2]);
  assert.equal(slots.held, 0);
});

test('a batch is limited in number and in bytes, but never empty', () => {
  const slots = new Slots(4);
  slots.admit([1, 2, 3, 4].map(lease));
  for (const id of [1, 2, 3, 4]) {
    slots.end(id, ending('x'.repeat(100)));
  }
  assert.equal(slots.takeEnded(1, 1000).length, 1);
  assert.equal(slots.takeEnded(10, 200).length, 2);
  assert.equal(slots.takeEnded(10, 1).length, 1);
  assert.equal(slots.takeEnded(10, 1).length, 0);
});

test('what could not be reported is reported first, unless it was lost meanwhile', () => {
  const slots = new Slots(3);
  slots.admit([1, 2, 3].map(lease));
  slots.end(1, ending());
  slots.end(2, ending());
  const batch = slots.takeEnded(10, 1000);
  slots.end(3, ending());
  slots.forget([1]);
  slots.putBack(batch);
  assert.deepEqual(
    slots.takeEnded(10, 1000).map((attempt) => attempt.lease.lease_id),
    [2, 3],
  );
});

test('a worker has at least one slot', () => {
  for (const concurrency of [0, -1, 1.5, NaN]) {
    assert.throws(() => new Slots(concurrency), RangeError);
  }
});
