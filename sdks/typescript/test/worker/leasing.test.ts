import assert from 'node:assert/strict';
import { test } from 'node:test';

import { BatchableMixin, StepHandler } from '../../src/index.js';
import { leaseOf, until } from './fake-server.js';
import { Gate, handler, newWorker, startServer, startWorker } from './running-worker.js';

const echo = handler('echo', (context) => ({ echoed: context.inputData }));

test('a worker registers with what it has, and reports what its handlers return', async (t) => {
  const { server } = await startWorker(t, [echo], { namespace: 'shop, billing', apiKey: 'secret' });
  server.offer(leaseOf(1, 'echo', { context: { order: 'A-1' } }));
  await until('the result is there', () => server.recorded.length === 1);
  const [registration] = server.bodiesOf('register');
  assert.equal(registration?.['name'], 'tested');
  assert.ok((registration?.['callables'] as string[] | undefined)?.includes('echo'));
  assert.deepEqual(registration?.['namespaces'], ['billing', 'shop']);
  assert.equal(registration?.['lazy_results'], true);
  assert.equal(registration?.['sdk'], 'typescript/0.1.0');
  const [call] = server.callsOf('register');
  assert.equal(call?.headers['x-api-key'], 'secret');
  assert.equal(call?.headers['user-agent'], 'typescript/0.1.0');
  assert.equal(server.resultOf(1)?.success, true);
  assert.deepEqual(server.resultOf(1)?.result, { echoed: { order: 'A-1' } });
});

test('a worker without namespaces and templates asks for steps from everywhere', async (t) => {
  const { server } = await startWorker(t, [echo]);
  assert.equal(server.bodiesOf('register')[0]?.['namespaces'], null);
});

test('a worker asks for as many steps as it has free slots, and waits on the server', async (t) => {
  const gate = new Gate();
  const { server, worker } = await startWorker(t, [gate.handler], { maxConcurrentHandlers: 3 });
  await until('steps are asked for', () => server.callsOf('lease').length === 1);
  assert.deepEqual(server.bodiesOf('lease')[0], { limit: 3, wait_seconds: 20 });
  server.offer(leaseOf(1, 'gate'));
  await until('they are asked for again', () => server.callsOf('lease').length === 2);
  assert.equal(server.bodiesOf('lease')[1]?.['limit'], 2);
  server.offer(leaseOf(2, 'gate'), leaseOf(3, 'gate'), leaseOf(4, 'gate'));
  await until('all slots are taken', () => gate.started.length === 3);
  assert.equal(worker.status().activeHandlers, 3);
  assert.equal(server.held.size, 3);
  gate.open();
  await until('everything is done', () => server.recorded.length === 4);
});

test('a chain costs one call a step: a report brings the next one', async (t) => {
  const { server } = await startWorker(t, [echo], { maxConcurrentHandlers: 1 });
  server.offer(...[1, 2, 3, 4, 5].map((id) => leaseOf(id, 'echo')));
  await until('everything is done', () => server.recorded.length === 5);
  const reports = server.bodiesOf<{ results: unknown[]; lease: number }>('report');
  assert.deepEqual(
    reports.map((report) => [report.results.length, report.lease]),
    Array(5).fill([1, 1]),
  );
  assert.equal(server.callsOf('lease').filter((call) => call.text.includes('"limit":1')).length <= 2, true);
});

test('results that come while reports are under way go into one report, half of the slots at most', async (t) => {
  const { server } = await startWorker(t, [echo], { maxConcurrentHandlers: 8 });
  server.offer(...[1, 2, 3, 4, 5, 6, 7, 8].map((id) => leaseOf(id, 'echo')));
  await until('everything is done', () => server.recorded.length === 8);
  const sizes = server.bodiesOf<{ results: unknown[] }>('report').map((report) => report.results.length);
  assert.deepEqual(sizes, [4, 4]);
});

test('what there is no slot for is given back', async (t) => {
  const gate = new Gate();
  const { server } = await startWorker(t, [gate.handler], { maxConcurrentHandlers: 1 }, (fake) => {
    fake.answerNext('lease', { body: { leases: [leaseOf(1, 'gate'), leaseOf(2, 'gate')] } });
  });
  await until('one is given back', () => server.released.length === 1);
  assert.deepEqual(server.released, [2]);
  assert.equal(gate.started.length, 1);
});

test('a server that answers at once with nothing is left alone a while', async (t) => {
  const { server } = await startWorker(t, [echo], {}, (fake) => {
    fake.answerNext('lease', { body: { leases: [] } }, 2);
  });
  await until('steps are asked for the third time', () => server.callsOf('lease').length === 3);
  const [first, second, third] = server.callsOf('lease').map((call) => call.at);
  assert.ok((second ?? 0) - (first ?? 0) > 900);
  assert.ok((third ?? 0) - (second ?? 0) > 900);
});

test('a handler that is registered after the start is told to the server, which keeps the leases', async (t) => {
  const gate = new Gate();
  const { server, worker } = await startWorker(t, [gate.handler]);
  server.offer(leaseOf(1, 'gate'));
  await until('the first handler runs', () => gate.started.length === 1);
  worker.getHandlerSystem().register('echo', echo);
  await until('the worker registers again', () => server.callsOf('register').length === 2);
  const again = server.bodiesOf('register')[1];
  assert.equal(again?.['worker_id'], 'worker-1');
  assert.ok((again?.['callables'] as string[] | undefined)?.includes('echo'));
  server.offer(leaseOf(2, 'echo'));
  await until('its step is done', () => server.resultOf(2) !== undefined);
  gate.open();
  await until('so is the other one', () => server.resultOf(1) !== undefined);
});

test('a worker without handlers registers once there is one, and is not ready before', async (t) => {
  const server = await startServer(t);
  const worker = newWorker(t, server, []);
  await worker.start();
  assert.equal(worker.isRunning(), true);
  // Handlers that factories made are known to every worker of the process; here there are none.
  assert.deepEqual(worker.healthCheck().error, 'there are no handlers');
  assert.equal(server.callsOf('register').length, 0);
  worker.getHandlerSystem().register('echo', echo);
  server.offer(leaseOf(1, 'echo'));
  await until('the step is done', () => server.recorded.length === 1);
  assert.equal(worker.healthCheck().healthy, true);
});

test('a worker takes the method that the template names', async (t) => {
  class Refunds extends StepHandler {
    static handlerName = 'refunds';
    async call() {
      return this.success({ method: 'call' });
    }
    async refund() {
      return this.success({ method: 'refund' });
    }
  }
  const { server } = await startWorker(t, [Refunds]);
  server.offer(leaseOf(1, 'refunds', { method: 'refund' }), leaseOf(2, 'refunds', { method: 'nope' }));
  await until('both are done', () => server.recorded.length === 2);
  assert.deepEqual(server.resultOf(1)?.result, { method: 'refund' });
  assert.equal(server.resultOf(2)?.error?.error_type, 'handler_not_found');
});

test('progress is reported as a checkpoint, and is no end', async (t) => {
  const saves = handler('saves', () => new BatchableMixin().checkpointYield(5, 5, { sum: 1 }));
  const { server, worker } = await startWorker(t, [saves]);
  server.offer(leaseOf(1, 'saves'));
  await until('it is reported', () => server.recorded.length === 1);
  assert.deepEqual(server.resultOf(1)?.checkpoint, {
    cursor: 5,
    items_processed: 5,
    accumulated_results: { sum: 1 },
  });
  assert.equal(worker.status().processedCount, 0);
});
