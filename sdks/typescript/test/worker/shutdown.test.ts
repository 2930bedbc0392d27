import assert from 'node:assert/strict';
import { test } from 'node:test';

import { ShutdownController } from '../../src/worker/index.js';
import { leaseOf, until } from './fake-server.js';
import { Gate, startWorker } from './running-worker.js';

test('a stopping worker finishes what it runs, takes nothing more, and deregisters last', async (t) => {
  const gate = new Gate();
  const { server, worker } = await startWorker(t, [gate.handler], { shutdownTimeoutMs: 10_000 });
  server.offer(leaseOf(1, 'gate'));
  await until('the handler runs', () => gate.started.length === 1);
  const stopping = worker.shutdown();
  assert.equal(worker.getState(), 'shutting_down');
  assert.equal(worker.healthCheck().healthy, false);
  server.offer(leaseOf(2, 'gate'));
  gate.open();
  await stopping;
  assert.equal(worker.getState(), 'stopped');
  assert.equal(server.resultOf(1)?.success, true);
  assert.equal(server.bodiesOf('report')[0]?.['lease'], 0);
  assert.equal(server.resultOf(2), undefined);
  assert.deepEqual(server.calls.at(-1)?.verb, 'deregister');
  await worker.waitUntilStopped();
});

test('a handler that does not end in time is told, and its step goes back at once', async (t) => {
  const gate = new Gate();
  const { server, worker } = await startWorker(t, [gate.handler], { shutdownTimeoutMs: 50 });
  server.offer(leaseOf(1, 'gate'));
  await until('the handler runs', () => gate.started.length === 1);
  await worker.shutdown();
  const result = server.resultOf(1);
  assert.deepEqual([result?.error?.error_type, result?.error?.retryable], ['worker_shutdown', true]);
  assert.equal(result?.metadata?.custom['retry_after_seconds'], 0);
  assert.equal(gate.started[0]?.signal.aborted, true);
  assert.equal(server.calls.at(-1)?.verb, 'deregister');
});

test('what was granted while the worker stopped is given back', async (t) => {
  const gate = new Gate();
  const { server, worker } = await startWorker(t, [gate.handler]);
  await until('a call waits', () => server.callsOf('lease').length === 1);
  // As if the grant had crossed with the end of the call.
  server.held.set(7, leaseOf(7, 'gate'));
  await worker.shutdown();
  assert.deepEqual(server.released, [7]);
  assert.equal(gate.started.length, 0);
});

test('a stopping worker whose server is away for a moment still reports', async (t) => {
  const gate = new Gate();
  const { server, worker } = await startWorker(t, [gate.handler], { shutdownTimeoutMs: 10_000 });
  server.offer(leaseOf(1, 'gate'));
  await until('the handler runs', () => gate.started.length === 1);
  server.answerNext('report', { cut: true }, 2);
  gate.open();
  await worker.shutdown();
  assert.equal(server.resultOf(1)?.success, true);
});

test('what wants to know is called when the worker stops, the last one first', async (t) => {
  const told: string[] = [];
  const { worker } = await startWorker(t, [new Gate().handler]);
  worker.onShutdown(() => void told.push('first'));
  worker.onShutdown(async () => void told.push('second'));
  const emitter = worker.getEventSystem().getEmitter();
  emitter.on('worker.shutdown.started', ({ workerId }) => told.push(`started ${workerId}`));
  emitter.on('worker.stopped', ({ workerId }) => told.push(`stopped ${workerId}`));
  await Promise.all([worker.shutdown(), worker.shutdown()]);
  await worker.shutdown();
  assert.deepEqual(told, ['started tested', 'second', 'first', 'stopped tested']);
});

test('a worker that has stopped can be started again', async (t) => {
  const gate = new Gate();
  gate.open();
  const { server, worker } = await startWorker(t, [gate.handler]);
  await assert.rejects(worker.start(), /the worker is running/);
  await worker.shutdown();
  await worker.start();
  server.offer(leaseOf(1, 'gate'));
  await until('it works', () => server.recorded.length === 1);
  assert.equal(server.callsOf('register').length, 2);
});

test('a shutdown is asked for once, and its handlers do not keep each other from it', async () => {
  const controller = new ShutdownController();
  const told: string[] = [];
  controller.onShutdown(() => void told.push('last'));
  controller.onShutdown(() => Promise.reject(new Error('no')));
  assert.equal(controller.isRequested, false);
  controller.trigger('SIGTERM');
  controller.trigger('SIGINT');
  assert.equal(await controller.promise, 'SIGTERM');
  assert.deepEqual([controller.isRequested, controller.signal], [true, 'SIGTERM']);
  await controller.executeHandlers();
  await controller.executeHandlers();
  assert.deepEqual(told, ['last']);
  controller.reset();
  assert.deepEqual([controller.isRequested, controller.signal], [false, null]);
});
