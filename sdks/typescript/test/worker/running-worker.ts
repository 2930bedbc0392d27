/** A worker that runs against a fake server, for tests. */

import type { TestContext } from 'node:test';

import { type StepContext, StepHandler, type StepHandlerClass, StepHandlerResult } from '../../src/index.js';
import { WorkerServer } from '../../src/worker/index.js';
import type { WorkerServerConfig } from '../../src/worker/settings.js';
import { FakeServer } from './fake-server.js';

/** Make a handler of a function. */
export function handler(name: string, call: (context: StepContext) => unknown): StepHandlerClass {
  return class extends StepHandler {
    static handlerName = name;

    async call(context: StepContext): Promise<StepHandlerResult> {
      const result = (await call(context)) as StepHandlerResult | Record<string, unknown> | undefined;
      return result instanceof StepHandlerResult ? result : this.success(result ?? {});
    }
  };
}

/** A handler that waits until a test lets it go on. */
export class Gate {
  readonly started: StepContext[] = [];
  #open: () => void = () => {};
  readonly #opened = new Promise<void>((resolve) => {
    this.#open = resolve;
  });

  readonly handler = handler('gate', async (context) => {
    this.started.push(context);
    await this.#opened;
    return { passed: true };
  });

  open(): void {
    this.#open();
  }
}

export interface Running {
  readonly server: FakeServer;
  readonly worker: WorkerServer;
}

/** Start a fake server, and a worker with these handlers; both end with the test. */
export async function startWorker(
  test: TestContext,
  handlers: readonly StepHandlerClass[],
  config: WorkerServerConfig = {},
  prepare: (server: FakeServer) => void = () => {},
): Promise<Running> {
  const server = await startServer(test);
  prepare(server);
  const worker = newWorker(test, server, handlers, config);
  await worker.start();
  return { server, worker };
}

export async function startServer(test: TestContext): Promise<FakeServer> {
  const server = await FakeServer.start();
  endings(test).push(() => server.close());
  return server;
}

const ended = new WeakMap<TestContext, (() => Promise<void>)[]>();

/** What is done at the end of a test, in this order: workers say goodbye before their servers go. */
function endings(test: TestContext): (() => Promise<void>)[] {
  const known = ended.get(test);
  if (known !== undefined) {
    return known;
  }
  const actions: (() => Promise<void>)[] = [];
  ended.set(test, actions);
  test.after(async () => {
    for (const act of actions) {
      await act();
    }
  });
  return actions;
}

export function newWorker(
  test: TestContext,
  server: { url: string },
  handlers: readonly StepHandlerClass[],
  config: WorkerServerConfig = {},
): WorkerServer {
  const worker = new WorkerServer({
    engineUrl: server.url,
    logLevel: 'off',
    workerId: 'tested',
    shutdownTimeoutMs: 100,
    ...config,
  });
  for (const each of handlers) {
    worker.getHandlerSystem().register(each.handlerName, each);
  }
  endings(test).unshift(() => worker.shutdown());
  return worker;
}
