import assert from 'node:assert/strict';
import { test } from 'node:test';

import { type FakeServer, leaseOf, until } from './fake-server.js';
import { handler, startWorker } from './running-worker.js';

const echo = handler('echo', (context) => context.inputData);
const long = handler('long', (context) => ({ text: 'x'.repeat(Number(context.getInput('bytes'))) }));

/** Refuse the results of one lease while they are no failures of the type `result_refused`. */
function refuse(server: FakeServer, leaseId: number, reason: string): void {
  server.answerNext(
    'report',
    (call) => {
      const { results } = JSON.parse(call.text) as {
        results: { lease_id: number; step_uuid: string; error?: { error_type: string } | null }[];
      };
      const refused = results.find((result) => result.lease_id === leaseId);
      if (refused === undefined || refused.error?.error_type === 'result_refused') {
        return undefined;
      }
      const { step_uuid } = refused;
      const refusal = { step_uuid, lease_id: leaseId, reason, detail: 'a number is too large' };
      return { body: { accepted: [], refused: [refusal], leases: [], more_ready: false } };
    },
    100,
  );
}

for (const reason of ['malformed', 'not_recordable']) {
  test(`a result that is ${reason} becomes a failure that says so`, async (t) => {
    const { server } = await startWorker(t, [echo], {}, (fake) => refuse(fake, 1, reason));
    server.offer(leaseOf(1, 'echo'));
    await until('the failure is recorded', () => server.recorded.length === 1);
    const error = server.resultOf(1)?.error;
    assert.equal(error?.error_type, 'result_refused');
    assert.equal(error?.retryable, false);
    assert.match(error?.message ?? '', /a number is too large/);
  });
}

test('a result whose lease is lost is dropped, and its slot is free again', async (t) => {
  const { server, worker } = await startWorker(t, [echo], { maxConcurrentHandlers: 1 }, (fake) =>
    refuse(fake, 1, 'lease_lost'),
  );
  server.offer(leaseOf(1, 'echo'));
  await until('it is reported', () => server.callsOf('report').length === 1);
  server.offer(leaseOf(2, 'echo'));
  await until('the next one is done', () => server.resultOf(2) !== undefined);
  assert.equal(server.resultOf(1), undefined);
  await until('it is counted', () => worker.status().processedCount === 1);
});

test('a request that is refused as a whole fails only the step that it is about', async (t) => {
  const { server } = await startWorker(t, [echo], { maxConcurrentHandlers: 6 }, (fake) => {
    fake.answerNext(
      'report',
      (call) => {
        const bad = call.text.includes('"bad":true') && !call.text.includes('result_refused');
        return bad ? { status: 422, body: { error: { code: 'VALIDATION_ERROR', message: 'not so' } } } : undefined;
      },
      100,
    );
  });
  server.offer(leaseOf(1, 'echo'), leaseOf(2, 'echo', { context: { bad: true } }), leaseOf(3, 'echo'));
  await until('everything is done', () => server.recorded.length === 3);
  assert.deepEqual(
    [1, 2, 3].map((id) => server.resultOf(id)?.error?.error_type ?? null),
    [null, 'result_refused', null],
  );
  assert.match(server.resultOf(2)?.error?.message ?? '', /not so/);
});

test('a result that is too large becomes a failure that says so', async (t) => {
  const { server } = await startWorker(t, [long]);
  server.offer(leaseOf(1, 'long', { context: { bytes: 15 * 1024 * 1024 } }));
  await until('the failure is recorded', () => server.recorded.length === 1);
  assert.equal(server.resultOf(1)?.error?.error_type, 'result_refused');
  assert.match(server.resultOf(1)?.error?.message ?? '', /\d+ bytes/);
});

test('large results are sent in parts', async (t) => {
  const { server } = await startWorker(t, [long]);
  const context = { bytes: 5 * 1024 * 1024 };
  server.offer(...[1, 2, 3].map((id) => leaseOf(id, 'long', { context })));
  await until('everything is done', () => server.recorded.length === 3);
  const sizes = server.bodiesOf<{ results: unknown[] }>('report').map((report) => report.results.length);
  assert.deepEqual(sizes, [1, 1, 1]);
});

test('events tell what becomes of a step', async (t) => {
  const fails = handler('fails', () => Promise.reject(new Error('no')));
  const { server, worker } = await startWorker(t, [echo, fails]);
  const told: string[] = [];
  const emitter = worker.getEventSystem().getEmitter();
  emitter.on('step.execution.completed', (event) => told.push(`completed ${event.stepName}`));
  emitter.on('step.execution.failed', (event) => told.push(`failed ${event.stepName}: ${event.errorMessage}`));
  emitter.on('step.completion.sent', (event) => told.push(`sent ${event.success}`));
  emitter.on('step.execution.completed', () => {
    throw new Error('a listener must not stop the worker');
  });
  server.offer(leaseOf(1, 'echo'));
  await until('the first one is counted', () => worker.status().processedCount === 1);
  server.offer(leaseOf(2, 'fails'));
  await until('so is the other one', () => worker.status().errorCount === 1);
  assert.deepEqual(told, ['completed step-1', 'sent true', 'failed step-2: no', 'sent false']);
});
