import assert from 'node:assert/strict';
import { test } from 'node:test';

import {
  bootstrapWorker,
  getWorkerServer,
  getWorkerStatus,
  healthCheck,
  isWorkerRunning,
  stopWorker,
  transitionToGracefulShutdown,
} from '../../src/bootstrap/index.js';
import { leaseOf, until } from './fake-server.js';
import { Gate, handler, newWorker, startServer, startWorker } from './running-worker.js';

const HEALTH = { healthBind: '127.0.0.1:0' };
const echo = handler('echo', (context) => context.inputData);
const fails = handler('fails', () => Promise.reject(new Error('no')));

test('health checks say whether steps are taken', async (t) => {
  const gate = new Gate();
  const { server, worker } = await startWorker(t, [echo, gate.handler], { ...HEALTH, shutdownTimeoutMs: 10_000 });
  const status = async (path: string) => (await fetch(`http://127.0.0.1:${worker.healthPort}${path}`)).status;
  assert.deepEqual(
    await Promise.all(['/health', '/health/live', '/health/ready', '/other'].map(status)),
    [200, 200, 200, 404],
  );
  server.offer(leaseOf(1, 'gate'));
  await until('the handler runs', () => gate.started.length === 1);
  const stopping = worker.shutdown();
  assert.deepEqual(await Promise.all(['/health/live', '/health/ready'].map(status)), [200, 503]);
  gate.open();
  await stopping;
  await assert.rejects(status('/health'));
});

test('a worker without handlers is alive and not ready', async (t) => {
  const server = await startServer(t);
  const worker = newWorker(t, server, [], HEALTH);
  await worker.start();
  const ready = await fetch(`http://127.0.0.1:${worker.healthPort}/health/ready`);
  assert.equal(ready.status, 503);
  assert.deepEqual(await ready.json(), { status: 'unhealthy', reason: 'there are no handlers' });
});

test('a worker whose server is away is not ready', async (t) => {
  const { server, worker } = await startWorker(t, [echo], HEALTH);
  await server.close();
  await until('it notices', () => !worker.healthCheck().healthy);
  const ready = await fetch(`http://127.0.0.1:${worker.healthPort}/health/ready`);
  assert.equal(ready.status, 503);
});

test('metrics count what was recorded', async (t) => {
  const { server, worker } = await startWorker(t, [echo, fails], HEALTH);
  server.offer(leaseOf(1, 'echo'), leaseOf(2, 'fails'), leaseOf(3, 'echo'));
  await until('everything is counted', () => worker.status().processedCount === 3);
  const text = await (await fetch(`http://127.0.0.1:${worker.healthPort}/metrics`)).text();
  const values = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  assert.deepEqual(values, [
    'tasker_worker_steps_total{outcome="succeeded"} 2',
    'tasker_worker_steps_total{outcome="failed"} 1',
    'tasker_worker_running_handlers 0',
    'tasker_worker_connected 1',
  ]);
});

test('the worker of the process is started and stopped by functions, which never throw', async (t) => {
  const server = await startServer(t);
  assert.equal(isWorkerRunning(), false);
  assert.equal((await stopWorker()).status, 'not_running');
  assert.equal(transitionToGracefulShutdown().status, 'not_running');
  getWorkerServer().getHandlerSystem().register('echo', echo);
  const wrong = await bootstrapWorker({ engineUrl: 'nowhere', logLevel: 'off' });
  assert.deepEqual([wrong.success, wrong.status], [false, 'error']);
  assert.match(wrong.error ?? '', /no URL/);
  const config = { engineUrl: server.url, workerId: 'mine', logLevel: 'off' };
  assert.deepEqual(await bootstrapWorker(config), {
    success: true,
    status: 'started',
    message: 'the worker runs',
    workerId: 'mine',
  });
  assert.equal((await bootstrapWorker(config)).status, 'already_running');
  assert.equal(healthCheck().healthy, true);
  assert.deepEqual([getWorkerStatus().state, getWorkerStatus().workerId], ['running', 'mine']);
  assert.equal((await stopWorker()).status, 'stopped');
  assert.equal(isWorkerRunning(), false);
});
