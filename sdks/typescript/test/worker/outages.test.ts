import assert from 'node:assert/strict';
import { test } from 'node:test';

import { AccessRefusedError, ServerUnavailableError, WorkerSetupError } from '../../src/worker/errors.js';
import { FakeServer, leaseOf, until } from './fake-server.js';
import { Gate, handler, newWorker, startServer, startWorker } from './running-worker.js';

const echo = handler('echo', (context) => context.inputData);
const UNKNOWN = { status: 410, body: { error: { code: 'WORKER_UNKNOWN', message: 'register again' } } };
const REFUSED = { status: 401, body: { error: { code: 'UNAUTHORIZED', message: 'no such key' } } };

test('after contact was lost, what was granted meanwhile is found and started', async (t) => {
  const { server, worker } = await startWorker(t, [echo], {}, (fake) => {
    fake.answerNext('lease', () => {
      // Granted, but the answer gets lost.
      fake.held.set(1, leaseOf(1, 'echo'));
      return { cut: true };
    });
  });
  await until('the step is done', () => server.recorded.length === 1);
  assert.equal(server.callsOf('recover').length, 1);
  await until('it is in contact again', () => worker.healthCheck().healthy);
});

test('a result that could not be sent is sent again', async (t) => {
  const { server } = await startWorker(t, [echo], {}, (fake) => fake.answerNext('report', { cut: true }));
  server.offer(leaseOf(1, 'echo'));
  await until('the step is done', () => server.recorded.length === 1);
  assert.equal(server.callsOf('report').length, 2);
});

test('a server that asks for time gets it', async (t) => {
  const busy = { status: 503, headers: { 'retry-after': '1' }, body: { error: { code: 'BUSY', message: 'later' } } };
  const { server } = await startWorker(t, [echo], {}, (fake) => fake.answerNext('lease', busy));
  await until('steps are asked for again', () => server.callsOf('lease').length === 2);
  const [refused] = server.callsOf('lease');
  const [recovery] = server.callsOf('recover');
  assert.ok((recovery?.at ?? 0) - (refused?.at ?? 0) >= 990);
});

test('pauses between tries grow', async (t) => {
  const { server } = await startWorker(t, [echo], {}, (fake) => {
    fake.answerNext('lease', { cut: true });
    fake.answerNext('recover', { cut: true }, 2);
  });
  await until('it is in contact again', () => server.callsOf('lease').length === 2);
  const times = [server.callsOf('lease')[0], ...server.callsOf('recover')].map((call) => call?.at ?? 0);
  const pauses = times.slice(1).map((time, index) => time - (times[index] ?? 0));
  assert.ok((pauses[0] ?? 0) >= 190 && (pauses[1] ?? 0) >= 390 && (pauses[2] ?? 0) >= 790, String(pauses));
});

test('a server that comes back is worked for again, and handlers go on meanwhile', async (t) => {
  const gate = new Gate();
  const { server, worker } = await startWorker(t, [gate.handler]);
  server.offer(leaseOf(1, 'gate'));
  await until('the handler runs', () => gate.started.length === 1);
  await server.close();
  await until('contact is lost', () => worker.healthCheck().healthy === false);
  const again = await FakeServer.start(server.port);
  t.after(() => again.close());
  again.held.set(1, leaseOf(1, 'gate'));
  await until('it is in contact again', () => worker.healthCheck().healthy);
  gate.open();
  await until('the result is there', () => again.recorded.length === 1);
  assert.equal(gate.started.length, 1);
  assert.equal(again.callsOf('register').length, 0);
  await worker.shutdown();
});

for (const verb of ['lease', 'report']) {
  test(`a worker that the server does not know any more (${verb}) registers again and stops what it held`, async (t) => {
    const gate = new Gate();
    const { server } = await startWorker(t, [gate.handler, echo], { maxConcurrentHandlers: 2 });
    server.offer(leaseOf(1, 'gate'));
    await until('the handler runs', () => gate.started.length === 1);
    server.answerNext(verb, UNKNOWN);
    server.offer(leaseOf(2, 'echo'));
    if (verb === 'lease') {
      // The call for steps that waits is answered first, and the next one is refused.
      await until('that one is done', () => server.recorded.length === 1);
    }
    await until('it registers again', () => server.callsOf('register').length === 2, 30_000);
    await until('the handler is told', () => gate.started[0]?.signal.aborted === true);
    assert.equal(server.bodiesOf('register')[1]?.['worker_id'], undefined);
    gate.open();
    server.offer(leaseOf(3, 'echo'));
    await until('it works', () => server.resultOf(3) !== undefined);
    assert.equal(server.resultOf(1), undefined);
    assert.equal(server.callsOf('report').at(-1)?.workerId, 'worker-2');
  });
}

test('a worker whose credentials are refused stops its handlers and ends', async (t) => {
  const gate = new Gate();
  const { server, worker } = await startWorker(t, [gate.handler, echo]);
  server.offer(leaseOf(1, 'gate'));
  await until('the handler runs', () => gate.started.length === 1);
  server.answerNext('report', REFUSED);
  server.offer(leaseOf(2, 'echo'));
  await assert.rejects(worker.waitUntilStopped(), (error) => {
    return error instanceof AccessRefusedError && error.message.includes('no such key');
  });
  assert.equal(worker.getState(), 'error');
  assert.equal(gate.started[0]?.signal.aborted, true);
});

test('a heartbeat whose credentials are refused ends the worker, too', async (t) => {
  const gate = new Gate();
  const { server, worker } = await startWorker(t, [gate.handler], {}, (fake) => fake.answerNext('heartbeat', REFUSED));
  server.offer(leaseOf(1, 'gate'));
  await assert.rejects(worker.waitUntilStopped(), AccessRefusedError);
});

test('a start with refused credentials fails at once', async (t) => {
  const server = await startServer(t);
  server.answerNext('register', REFUSED);
  const worker = newWorker(t, server, [echo]);
  await assert.rejects(worker.start(), AccessRefusedError);
  assert.equal(worker.getState(), 'error');
});

test('a start waits for a server that is not there yet', async (t) => {
  const away = await FakeServer.start();
  await away.close();
  const worker = newWorker(t, away, [echo]);
  const starting = worker.start();
  const server = await FakeServer.start(away.port);
  t.after(() => server.close());
  await starting;
  assert.equal(worker.isRunning(), true);
  await worker.shutdown();
});

test('a start gives up when the time to wait is over', async (t) => {
  const worker = newWorker(t, { url: 'http://127.0.0.1:1' }, [echo], { waitForMs: 300 });
  await assert.rejects(worker.start(), ServerUnavailableError);
});

test('the time to wait for a server is a setting of the environment, too', async (t) => {
  process.env['TASKER_WAIT_FOR'] = '0.3';
  t.after(() => delete process.env['TASKER_WAIT_FOR']);
  const worker = newWorker(t, { url: 'http://127.0.0.1:1' }, [echo]);
  await assert.rejects(worker.start(), ServerUnavailableError);
  process.env['TASKER_WAIT_FOR'] = 'long';
  await assert.rejects(worker.start(), (error) => {
    return error instanceof WorkerSetupError && /server must be a number from 0, not "long"$/.test(error.message);
  });
  await assert.rejects(worker.start({ waitForMs: 0 }), ServerUnavailableError);
});

test('a start that waits can be given up', async (t) => {
  const worker = newWorker(t, { url: 'http://127.0.0.1:1' }, [echo]);
  const starting = worker.start();
  await worker.shutdown();
  await assert.rejects(starting, ServerUnavailableError);
});

test('settings that make no sense are refused with what is wrong', async (t) => {
  for (const [config, message] of [
    [{ engineUrl: 'ftp://x' }, /"ftp:\/\/x" is no URL/],
    [{ maxConcurrentHandlers: 0 }, /must be a whole number from 1 to 10000, not 0/],
    [{ healthBind: 'nowhere' }, /"nowhere" is no address/],
    [{ templatePath: '/no/such/path' }, /no templates at \/no\/such\/path/],
  ] as const) {
    const worker = newWorker(t, { url: 'http://127.0.0.1:1' }, [echo], config);
    await assert.rejects(worker.start(), (error) => error instanceof WorkerSetupError && message.test(error.message));
  }
});
