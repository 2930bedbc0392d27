import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';

import { eventsIn, run } from './child.js';
import { leaseOf, until } from './fake-server.js';
import { startServer } from './running-worker.js';

const CLI = 'src/cli.js';
const PACKAGE = new URL('../../src/index.js', import.meta.url);

function handlerFile(test: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'tasker-cli-'));
  test.after(() => rmSync(directory, { recursive: true }));
  const file = join(directory, 'handlers.mjs');
  const wait = 'new Promise((resolve) => setTimeout(resolve, 60000))';
  writeFileSync(
    file,
    `import { StepHandler } from ${JSON.stringify(String(PACKAGE))};
export class Greet extends StepHandler {
  static handlerName = 'greet';
  async call(context) { return this.success({ hello: context.getInput('name') }); }
}
export class Sleep extends StepHandler {
  static handlerName = 'sleep';
  async call() { await ${wait}; return this.success({}); }
}
`,
  );
  return file;
}

for (const [args, message] of [
  [['--concurrency', 'many'], /^tasker-worker: --concurrency must be a whole number from 1 to 10000, not "many"/],
  [['--nonsense'], /^tasker-worker: Unknown option '--nonsense'/],
  [['--log-format', 'xml'], /^tasker-worker: --log-format must be json, console or auto, not "xml"/],
  [['--health-bind', 'x'], /^tasker-worker: "x" is no address such as 127.0.0.1:8081/],
  [['--server', 'nowhere'], /^tasker-worker: "nowhere" is no URL/],
  [[], /^tasker-worker: there are no handlers: name files or directories that have some/],
  [['/no/such/handlers'], /^tasker-worker: there are no handlers at \/no\/such\/handlers/],
  [['--templates', '/no/such/templates'], /^tasker-worker: there are no templates at \/no\/such\/templates/],
] as const) {
  test(`tasker-worker ${args.join(' ')} is refused in one line`, async (t) => {
    const child = run(t, CLI, args);
    assert.equal(await child.ended, 2);
    assert.match(child.output(), message);
    assert.equal(child.output().trim().split('\n').length, 1);
  });
}

test('--help teaches every option, and --version tells the version', async (t) => {
  const help = run(t, CLI, ['--help']);
  assert.equal(await help.ended, 0);
  for (const option of ['server', 'templates', 'namespace', 'concurrency', 'name', 'shutdown-timeout', 'wait-for']) {
    assert.ok(help.output().includes(`--${option} `), option);
  }
  const version = run(t, CLI, ['--version']);
  assert.equal(await version.ended, 0);
  assert.equal(version.output(), 'tasker-worker 0.1.0\n');
});

test('the command runs handlers of files until it is told to stop', async (t) => {
  const server = await startServer(t);
  const args = [handlerFile(t), '--server', server.url, '--namespace', 'a', '--namespace', 'b', '--name', 'cli-1'];
  const child = run(t, CLI, args);
  server.offer(leaseOf(1, 'greet', { context: { name: 'Ana' } }));
  await until('the step is done', () => server.recorded.length === 1);
  assert.deepEqual(server.resultOf(1)?.result, { hello: 'Ana' });
  const [registration] = server.bodiesOf('register');
  assert.deepEqual([registration?.['namespaces'], registration?.['name']], [['a', 'b'], 'cli-1']);
  child.process.kill('SIGTERM');
  assert.equal(await child.ended, 0);
  assert.deepEqual(eventsIn(child.output()), ['worker_registered', 'worker_started', 'worker_stopped']);
  assert.equal(server.calls.at(-1)?.verb, 'deregister');
});

test('a second signal ends the command at once', async (t) => {
  const server = await startServer(t);
  const child = run(t, CLI, [handlerFile(t), '--server', server.url]);
  server.offer(leaseOf(1, 'sleep'));
  await until('the handler runs', () => server.held.size === 1);
  child.process.kill('SIGINT');
  await until('it is stopping', () => server.callsOf('recover').length === 1);
  child.process.kill('SIGINT');
  assert.equal(await child.ended, 130);
});

test('refused credentials end the command with 4', async (t) => {
  const server = await startServer(t);
  server.answerNext('register', { status: 401, body: { error: { code: 'UNAUTHORIZED', message: 'no such key' } } });
  const child = run(t, CLI, [handlerFile(t), '--server', server.url]);
  assert.equal(await child.ended, 4);
  assert.match(child.output(), /^tasker-worker: .*no such key/m);
});

test('a server that does not come ends the command with 5', async (t) => {
  const child = run(t, CLI, [handlerFile(t), '--server', 'http://127.0.0.1:1', '--wait-for', '0.3']);
  assert.equal(await child.ended, 5);
  assert.match(child.output(), /^tasker-worker: no answer from http:\/\/127\.0\.0\.1:1/m);
});

test('the command says that it is ready, and what it does', async (t) => {
  const server = await startServer(t);
  const port = await freePort();
  run(t, CLI, [handlerFile(t), '--server', server.url, '--health-bind', `127.0.0.1:${port}`]);
  server.offer(leaseOf(1, 'greet'));
  await until('the step is done', () => server.recorded.length === 1);
  const ready = await fetch(`http://127.0.0.1:${port}/health/ready`);
  assert.equal(ready.status, 200);
  const detailed = (await (await fetch(`http://127.0.0.1:${port}/health/detailed`)).json()) as Record<string, unknown>;
  assert.deepEqual(detailed['server'], { url: server.url, connected: true });
  assert.deepEqual(detailed['handlers'], ['Greet', 'Sleep', 'greet', 'sleep']);
});

async function freePort(): Promise<number> {
  const socket = createServer();
  await new Promise<void>((resolve) => socket.listen(0, '127.0.0.1', resolve));
  const { port } = socket.address() as { port: number };
  await new Promise((resolve) => socket.close(resolve));
  return port;
}
