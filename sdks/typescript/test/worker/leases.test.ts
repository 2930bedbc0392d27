import assert from 'node:assert/strict';
import { test } from 'node:test';

import { run } from './child.js';
import { leaseOf, until } from './fake-server.js';
import { Gate, handler, startServer, startWorker } from './running-worker.js';

test('a handler that blocks the event loop keeps its lease', async (t) => {
  const server = await startServer(t);
  server.heartbeatSeconds = 0.2;
  run(t, 'live/worker.js', [], { TASKER_ORCHESTRATION_URL: server.url, TASKER_MAX_CONCURRENT: '1' });
  server.offer(leaseOf(1, 'live_block', { context: { block_seconds: 3 } }));
  await until('the step is done', () => server.recorded.length === 1, 20_000);
  const heartbeats = server.callsOf('heartbeat');
  assert.ok(heartbeats.length >= 5, `${heartbeats.length} heartbeats`);
  assert.ok(heartbeats.every((call) => call.workerId === 'worker-1'));
  const named = { leases: [{ step_uuid: leaseOf(1, '').step_uuid, lease_id: 1 }], wait_seconds: 0.2 };
  assert.deepEqual(JSON.parse(heartbeats[0]?.text ?? ''), named);
});

for (const reason of ['lost', 'cancelled'] as const) {
  test(`a handler whose lease is ${reason} is told, and its result is dropped`, async (t) => {
    const gate = new Gate();
    const { server, worker } = await startWorker(t, [gate.handler, handler('echo', () => ({}))], {
      maxConcurrentHandlers: 1,
    });
    server.offer(leaseOf(1, 'gate'));
    await until('a heartbeat waits', () => server.callsOf('heartbeat').length === 1);
    server.lose(1, reason);
    await until('the handler is told', () => gate.started[0]?.signal.aborted === true);
    assert.equal(gate.started[0]?.isCancelled, true);
    assert.equal(worker.status().activeHandlers, 0);
    gate.open();
    server.offer(leaseOf(2, 'echo'));
    await until('its slot runs the next one', () => server.resultOf(2) !== undefined);
    assert.equal(
      server.callsOf('report').some((call) => call.text.includes('"lease_id":1,')),
      false,
    );
  });
}

test('steps that are leased while a heartbeat waits are kept by a new one', async (t) => {
  const gate = new Gate();
  const { server } = await startWorker(t, [gate.handler]);
  server.offer(leaseOf(1, 'gate'));
  await until('a heartbeat waits', () => server.callsOf('heartbeat').length === 1);
  server.offer(leaseOf(2, 'gate'));
  await until('another one knows both', () => server.callsOf('heartbeat').length === 2, 8_000);
  const [, second] = server.bodiesOf<{ leases: { lease_id: number }[] }>('heartbeat');
  assert.deepEqual(second?.leases.map((lease) => lease.lease_id).sort(), [1, 2]);
});

test('a heartbeat that failed is sent again', async (t) => {
  const gate = new Gate();
  const { server } = await startWorker(t, [gate.handler], {}, (fake) => {
    fake.heartbeatSeconds = 0.2;
    fake.answerNext('heartbeat', { cut: true }, 2);
  });
  server.offer(leaseOf(1, 'gate'));
  await until('it is', () => server.callsOf('heartbeat').length === 3);
  assert.equal(gate.started[0]?.signal.aborted, false);
});

test('a heartbeat that the server does not know the worker of makes it register again', async (t) => {
  const gate = new Gate();
  const unknown = { status: 404, body: { error: { code: 'WORKER_UNKNOWN', message: 'register again' } } };
  const { server } = await startWorker(t, [gate.handler], {}, (fake) => fake.answerNext('heartbeat', unknown));
  server.offer(leaseOf(1, 'gate'));
  await until('it does', () => server.callsOf('register').length === 2);
  assert.equal(gate.started[0]?.signal.aborted, true);
});

test('a handler that runs longer than its step may has failed, is told, and its result is dropped', async (t) => {
  const gate = new Gate();
  const { server, worker } = await startWorker(t, [gate.handler]);
  server.offer(leaseOf(1, 'gate', { timeoutSeconds: 0.1 }));
  await until('the failure is recorded', () => server.recorded.length === 1);
  const error = server.resultOf(1)?.error;
  assert.deepEqual([error?.error_type, error?.retryable], ['handler_timeout', true]);
  assert.match(error?.message ?? '', /100 ms/);
  assert.equal(gate.started[0]?.signal.aborted, true);
  gate.open();
  await until('it is counted', () => worker.status().errorCount === 1);
  assert.equal(server.callsOf('report').length, 1);
});

test('the time limit of a step without one is a setting of the worker', async (t) => {
  const gate = new Gate();
  const { server } = await startWorker(t, [gate.handler], { handlerTimeoutMs: 50 });
  server.offer(leaseOf(1, 'gate'));
  await until('the failure is recorded', () => server.recorded.length === 1);
  assert.match(server.resultOf(1)?.error?.message ?? '', /50 ms/);
});
