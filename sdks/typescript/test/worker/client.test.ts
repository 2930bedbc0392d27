import assert from 'node:assert/strict';
import { test } from 'node:test';
import { requestHeaders } from '../../src/client/credentials.js';
import { HttpConnection, retryAfterSeconds } from '../../src/client/http.js';
import { TaskerClient, TaskerClientError } from '../../src/client/index.js';
import type { Answer } from './fake-server.js';
import { startServer } from './running-worker.js';

const NOT_FOUND: Answer = { status: 404, body: { error: { code: 'NOT_FOUND', message: 'Resource not found' } } };
const AWAY: Answer = {
  status: 503,
  headers: { 'retry-after': '0' },
  body: { error: { code: 'AWAY', message: 'later' } },
};

test('a task that is created with only a name has the defaults', async (t) => {
  const server = await startServer(t);
  server.answerNext('/v1/tasks', { body: { task_uuid: 'u-1', status: 'pending' } });
  const client = new TaskerClient({ baseUrl: server.url });
  assert.equal((await client.createTask({ name: 'order' })).task_uuid, 'u-1');
  const { correlation_id: correlationId, ...sent } = server.bodiesOf('/v1/tasks')[0] ?? {};
  assert.match(String(correlationId), /^[0-9a-f-]{36}$/);
  assert.deepEqual(sent, {
    name: 'order',
    namespace: 'default',
    context: {},
    version: '1.0.0',
    initiator: 'tasker-core-typescript',
    source_system: 'tasker-core',
    reason: 'Task requested',
    tags: [],
    priority: null,
    parent_correlation_id: null,
    idempotency_key: null,
  });
  client.close();
});

test('every method asks for what it is named after', async (t) => {
  const server = await startServer(t);
  const client = new TaskerClient({ baseUrl: `${server.url}/`, token: 'secret' });
  server.answerNext('/v1/tasks?page=3&per_page=20&namespace=shop&status=complete', {
    body: {
      tasks: [],
      pagination: { page: 3, per_page: 20, total_count: 45, total_pages: 3, has_next: false, has_previous: true },
    },
  });
  const { pagination } = await client.listTasks({ limit: 20, offset: 40, namespace: 'shop', status: 'complete' });
  assert.deepEqual([pagination.total, pagination.limit, pagination.offset, pagination.has_more], [45, 20, 40, false]);
  server.answerNext('/health', { body: { status: 'healthy' } });
  assert.deepEqual(await client.healthCheck(), { healthy: true });
  await client.getTask('t/1');
  await client.cancelTask('t1');
  await client.listTaskSteps('t1');
  await client.getStep('t1', 's1');
  await client.getStepAuditHistory('t1', 's1');
  assert.deepEqual(
    server.calls.slice(2).map((call) => `${call.method} ${call.url}`),
    [
      'GET /v1/tasks/t%2F1',
      'DELETE /v1/tasks/t1',
      'GET /v1/tasks/t1/workflow_steps',
      'GET /v1/tasks/t1/workflow_steps/s1',
      'GET /v1/tasks/t1/workflow_steps/s1/audit',
    ],
  );
  assert.ok(server.calls.every((call) => call.headers.authorization === 'Bearer secret'));
  client.close();
});

test('an error says what the server said, and whether another try may help', async (t) => {
  const server = await startServer(t);
  const client = new TaskerClient({ baseUrl: server.url, maxRetries: 0 });
  server.answerNext('/v1/tasks/t1', NOT_FOUND);
  await assert.rejects(client.getTask('t1'), (error) => {
    assert.ok(error instanceof TaskerClientError);
    assert.deepEqual(
      [error.message, error.recoverable, error.status, error.code],
      ['getTask failed: Resource not found', false, 404, 'NOT_FOUND'],
    );
    return true;
  });
  server.answerNext('/v1/tasks/t1', AWAY);
  await assert.rejects(client.getTask('t1'), { recoverable: true, status: 503 });
  await server.close();
  await assert.rejects(client.getTask('t1'), { name: 'TaskerClientError', recoverable: true, status: null });
  client.close();
});

test('what may be made twice is made again while the server is away', async (t) => {
  const server = await startServer(t);
  const client = new TaskerClient({ baseUrl: server.url });
  server.answerNext('/v1/tasks/t1', AWAY, 2);
  await client.getTask('t1');
  assert.equal(server.calls.length, 3);
  server.answerNext('/v1/tasks', AWAY, 2);
  await assert.rejects(client.createTask({ name: 'order' }), { recoverable: true });
  assert.equal(server.callsOf('/v1/tasks').length, 1);
  await client.createTask({ name: 'order', idempotencyKey: 'A-1' });
  assert.equal(server.callsOf('/v1/tasks').length, 3);
  client.close();
});

test('a refusal is not repeated', async (t) => {
  const server = await startServer(t);
  const client = new TaskerClient({ baseUrl: server.url });
  server.answerNext('/v1/tasks/t1', NOT_FOUND);
  await assert.rejects(client.getTask('t1'));
  assert.equal(server.calls.length, 1);
  client.close();
});

test('a call that takes too long has failed', async (t) => {
  const server = await startServer(t);
  const connection = new HttpConnection(server.url);
  const body = JSON.stringify({ limit: 1, wait_seconds: 5 });
  const call = connection.send({ method: 'POST', path: '/v1/worker/w1/lease', body, timeoutMs: 50 });
  await assert.rejects(call, {
    name: 'NoAnswerError',
    message: `no answer from ${server.url}: no answer within 50 ms`,
  });
  connection.close();
});

test('a credential that is given is used alone, and a token counts before a key', () => {
  const environment = { TASKER_AUTH_TOKEN: 't', TASKER_API_KEY: 'k', TASKER_API_KEY_HEADER: 'X-Mine' };
  const agent = { 'user-agent': 'typescript/0.1.0' };
  assert.deepEqual(requestHeaders({}, {}), agent);
  assert.deepEqual(requestHeaders({}, environment), { ...agent, authorization: 'Bearer t' });
  const both = { ...environment, TASKER_ORCHESTRATION_AUTH_TOKEN: 'first' };
  assert.deepEqual(requestHeaders({}, both), { ...agent, authorization: 'Bearer first' });
  assert.deepEqual(requestHeaders({ apiKey: 'own' }, environment), { ...agent, 'X-Mine': 'own' });
  assert.deepEqual(requestHeaders({ token: 'own' }, environment), { ...agent, authorization: 'Bearer own' });
  assert.deepEqual(requestHeaders({}, { TASKER_API_KEY: 'k' }), { ...agent, 'X-API-Key': 'k' });
});

test('Retry-After is seconds or a date', () => {
  const after = (value?: string) =>
    retryAfterSeconds(
      { status: 503, reason: '', text: '', headers: value === undefined ? {} : { 'retry-after': value } },
      Date.parse('2030-01-31T08:00:00Z'),
    );
  assert.deepEqual(
    [
      after('7'),
      after('Thu, 31 Jan 2030 08:00:05 GMT'),
      after('Thu, 31 Jan 2030 07:00:00 GMT'),
      after('soon'),
      after(),
    ],
    [7, 5, 0, null, null],
  );
});
