import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';

import { WorkerSetupError } from '../../src/worker/errors.js';
import { findTemplates } from '../../src/worker/templates.js';
import type { FakeServer } from './fake-server.js';
import { handler, newWorker, startServer, startWorker } from './running-worker.js';

const TEMPLATES = '/v1/templates';
const echo = handler('echo', (context) => context.inputData);

function files(test: TestContext, ...names: string[]): string {
  const directory = mkdtempSync(join(tmpdir(), 'tasker-templates-'));
  test.after(() => rmSync(directory, { recursive: true }));
  for (const name of names) {
    mkdirSync(join(directory, name, '..'), { recursive: true });
    writeFileSync(join(directory, name), `name: ${name}\n`);
  }
  return directory;
}

function registered(server: FakeServer, namespace: string, ...callables: string[]): void {
  const handlers = callables.map((callable) => ({ callable, method: null, resolver: null }));
  server.answerNext(TEMPLATES, {
    body: { namespace, name: 'any', version: '1.0.0', outcome: 'registered', handlers, warnings: [] },
  });
}

test('templates are the YAML files of a directory and those below, by name', async (t) => {
  const directory = files(t, 'b.yaml', 'a.yml', 'deep/c.yaml', 'notes.txt');
  assert.deepEqual(
    await findTemplates(directory),
    ['a.yml', 'b.yaml', 'deep/c.yaml'].map((name) => join(directory, name)),
  );
  assert.deepEqual(await findTemplates(join(directory, 'b.yaml')), [join(directory, 'b.yaml')]);
});

test('templates are sent as they are, and say which namespaces are served', async (t) => {
  const directory = files(t, 'order.yaml', 'pay.yaml');
  const { server, worker } = await startWorker(t, [echo], { templatePath: directory, namespace: 'extra' }, (fake) => {
    registered(fake, 'shop', 'echo');
    registered(fake, 'billing', 'charge_card');
  });
  const sent = server.callsOf(TEMPLATES);
  assert.deepEqual(
    sent.map((call) => call.text),
    ['name: order.yaml\n', 'name: pay.yaml\n'],
  );
  assert.deepEqual(
    sent.map((call) => call.headers['content-type']),
    Array(2).fill('application/yaml'),
  );
  const [registration] = server.bodiesOf<{ namespaces: string[]; callables: string[] }>('register');
  assert.deepEqual(registration?.namespaces, ['billing', 'extra', 'shop']);
  // There is no handler for charge_card: its steps are left to other workers.
  assert.equal(registration?.callables.includes('charge_card'), false);
  assert.equal(worker.isRunning(), true);
});

test('a template that conflicts with a registered one is an error that names the file', async (t) => {
  const server = await startServer(t);
  server.answerNext(TEMPLATES, { status: 409, body: { error: { code: 'CONFLICT', message: 'other content' } } });
  const directory = files(t, 'order.yaml');
  await assert.rejects(newWorker(t, server, [echo], { templatePath: directory }).start(), (error) => {
    return error instanceof WorkerSetupError && /order\.yaml: .*other content/.test(error.message);
  });
});

test('a template that is wrong is an error that says what is wrong', async (t) => {
  const server = await startServer(t);
  const details = [{ field: 'steps', message: 'line 3: no such key' }];
  const body = { error: { code: 'VALIDATION_ERROR', message: 'The template has 1 error', details } };
  server.answerNext(TEMPLATES, { status: 422, body });
  const directory = files(t, 'order.yaml');
  await assert.rejects(newWorker(t, server, [echo], { templatePath: directory }).start(), /line 3: no such key/);
});

test('a credential that may not register templates may work', async (t) => {
  const directory = files(t, 'order.yaml');
  const { server } = await startWorker(t, [echo], { templatePath: directory }, (fake) => {
    fake.answerNext(TEMPLATES, { status: 403, body: { error: { code: 'FORBIDDEN', message: 'not allowed' } } });
  });
  assert.equal(server.callsOf('register').length, 1);
});

test('a start waits for a server that cannot take templates yet', async (t) => {
  const directory = files(t, 'order.yaml');
  const { server } = await startWorker(t, [echo], { templatePath: directory }, (fake) => {
    fake.answerNext(TEMPLATES, { status: 503, body: { error: { code: 'UNAVAILABLE', message: 'starting' } } });
    registered(fake, 'shop', 'echo');
  });
  assert.equal(server.callsOf(TEMPLATES).length, 2);
});
