/** Results that are too large for a lease: how they reach a handler. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import type { StepContext } from '../../src/index.js';
import { leaseOf, until } from './fake-server.js';
import { Gate, handler, startWorker } from './running-worker.js';

const reads = handler('reads', (context) => ({ names: context.getDependencyResultKeys(), seen: resultOf(context) }));

function resultOf(context: StepContext): unknown {
  return context.getDependencyResult('analyze');
}

/** The lease of a step behind one with a large result. */
function lazyLease(id: number, callable = 'reads', more: { timeoutSeconds?: number; reruns?: number } = {}) {
  return leaseOf(id, callable, { omitted: ['analyze'], ...more });
}

test('a result that the lease leaves out is there when the handler is called', async (t) => {
  const { server } = await startWorker(t, [reads]);
  server.results.set('analyze', { rows: [1, 2] });
  server.offer(lazyLease(1));
  await until('the step is done', () => server.recorded.length === 1);
  assert.deepEqual(server.resultOf(1)?.result, { names: ['analyze'], seen: { rows: [1, 2] } });
  const { step_uuid, lease_id } = lazyLease(1);
  assert.deepEqual(server.bodiesOf('results'), [{ step_uuid, lease_id, names: ['analyze'] }]);
});

test('many steps of a task cost one call', async (t) => {
  const { server } = await startWorker(t, [reads], { maxConcurrentHandlers: 4 });
  server.results.set('analyze', 'large');
  server.offer(...Array.from({ length: 40 }, (_, index) => lazyLease(index + 1)));
  await until('all steps are done', () => server.recorded.length === 40);
  assert.ok(server.recorded.every(({ result }) => (result as { seen: unknown }).seen === 'large'));
  assert.equal(server.callsOf('results').length, 1);
});

test('what one handler does to a result, no other one sees', async (t) => {
  const changes = handler('changes', (context) => {
    const rows = resultOf(context) as number[];
    rows.push(rows.length);
    return { rows };
  });
  const { server } = await startWorker(t, [changes], { maxConcurrentHandlers: 2 });
  server.results.set('analyze', [7]);
  server.offer(...[1, 2, 3, 4].map((id) => lazyLease(id, 'changes')));
  await until('all steps are done', () => server.recorded.length === 4);
  assert.deepEqual(
    server.recorded.map(({ result }) => result),
    Array(4).fill({ rows: [7, 1] }),
  );
});

test('a task that was re-run has other results', async (t) => {
  const { server } = await startWorker(t, [reads]);
  for (const [id, reruns, result] of [
    [1, 0, 'first'],
    [2, 1, 'second'],
    [3, 1, 'unheard of'],
  ] as const) {
    server.results.set('analyze', result);
    server.offer(lazyLease(id, 'reads', { reruns }));
    await until('the step is done', () => server.resultOf(id) !== undefined);
  }
  const seen = server.recorded.map(({ result }) => (result as { seen: unknown }).seen);
  assert.deepEqual(seen, ['first', 'second', 'second']);
});

test('a result that is not there counts as none', async (t) => {
  const { server } = await startWorker(t, [reads]);
  server.offer(lazyLease(1));
  await until('the step is done', () => server.recorded.length === 1);
  assert.deepEqual(server.resultOf(1)?.result, { names: [], seen: null });
});

test('while the server is away, a step waits for its result and keeps its lease', async (t) => {
  const { server } = await startWorker(t, [reads], {}, (fake) => {
    fake.heartbeatSeconds = 0.2;
    fake.results.set('analyze', 'large');
    fake.answerNext('results', { cut: true });
    fake.answerNext('results', { status: 503, headers: { 'retry-after': '2' } });
  });
  server.offer(lazyLease(1));
  await until('the step is done', () => server.recorded.length === 1, 20_000);
  assert.deepEqual(server.resultOf(1)?.result, { names: ['analyze'], seen: 'large' });
  assert.equal(server.callsOf('results').length, 3);
  assert.ok(server.callsOf('heartbeat').length > 0);
});

test('an attempt whose result is refused fails, and may be tried again', async (t) => {
  const { server } = await startWorker(t, [reads]);
  server.answerNext('results', { status: 422, body: { error: { code: 'INVALID', message: 'no such names' } } });
  server.offer(lazyLease(1));
  await until('the failure is recorded', () => server.recorded.length === 1);
  const error = server.resultOf(1)?.error;
  assert.deepEqual([error?.error_type, error?.retryable], ['result_unavailable', true]);
  assert.match(error?.message ?? '', /^the result of step 'analyze' cannot be fetched: .*no such names/);
});

test('a step that waits for its result can be cancelled, and its handler is not called', async (t) => {
  const gate = new Gate();
  const { server, worker } = await startWorker(t, [gate.handler, reads], { maxConcurrentHandlers: 1 });
  server.answerNext('results', { cut: true }, Infinity);
  server.offer(lazyLease(1, 'gate'));
  await until('a heartbeat waits', () => server.callsOf('heartbeat').length === 1);
  assert.equal(worker.status().activeHandlers, 1);
  server.lose(1, 'cancelled');
  server.offer(leaseOf(2, 'reads'));
  await until('its slot runs the next one', () => server.resultOf(2) !== undefined);
  assert.equal(gate.started.length, 0);
});

test('a lost lease is noticed by the call for its result, and others ask for themselves', async (t) => {
  const { server } = await startWorker(t, [reads], { maxConcurrentHandlers: 2 });
  server.results.set('analyze', 'large');
  server.answerNext('results', { status: 409, body: { error: { code: 'CONFLICT', message: 'The lease is lost' } } });
  server.offer(lazyLease(1), lazyLease(2));
  await until('the other step is done', () => server.recorded.length === 1);
  assert.deepEqual(server.resultOf(2)?.result, { names: ['analyze'], seen: 'large' });
  assert.deepEqual(
    server.bodiesOf('results').map((body) => body['lease_id']),
    [1, 2],
  );
});

test('a worker that the server does not know any more registers again and stops what waited', async (t) => {
  const gate = new Gate();
  const { server } = await startWorker(t, [gate.handler, reads]);
  const unknown = { status: 410, body: { error: { code: 'WORKER_UNKNOWN', message: 'register again' } } };
  server.answerNext('results', unknown);
  server.offer(lazyLease(1, 'gate'));
  await until('it registers again', () => server.callsOf('register').length === 2);
  server.results.set('analyze', 'large');
  server.offer(lazyLease(2));
  await until('it works', () => server.resultOf(2) !== undefined);
  assert.equal(server.callsOf('results').at(-1)?.workerId, 'worker-2');
  assert.equal(gate.started.length, 0);
});

test('the wait for a result ends with the time limit of the step', async (t) => {
  const { server } = await startWorker(t, [reads]);
  server.answerNext('results', { cut: true }, Infinity);
  server.offer(lazyLease(1, 'reads', { timeoutSeconds: 0.2 }));
  await until('the failure is recorded', () => server.recorded.length === 1);
  assert.equal(server.resultOf(1)?.error?.error_type, 'handler_timeout');
});

test('a worker that stops does not wait for results for ever', async (t) => {
  const { server, worker } = await startWorker(t, [reads], { shutdownTimeoutMs: 50 });
  server.answerNext('results', { cut: true }, Infinity);
  server.offer(lazyLease(1));
  await until('the result is asked for', () => server.callsOf('results').length > 0);
  await worker.shutdown();
  assert.equal(server.resultOf(1)?.error?.error_type, 'worker_shutdown');
});
