/** The handlers of the live pack; each language has the same ones. */

import { appendFileSync, existsSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

import {
  applyBatchable,
  applyDecision,
  defineHandler,
  PermanentError,
  RetryableError,
  type StepContext,
  StepHandler,
  type StepHandlerClass,
  type StepHandlerResult,
} from '../src/index.js';

const LANGUAGE = 'typescript';

/** Milliseconds between two looks at a file or a signal. */
const LOOK_MS = 20;

type Result = Record<string, unknown>;

/** Make a handler of a function that returns a result. */
function handler(name: string, call: (context: StepContext) => Result | Promise<Result>): StepHandlerClass {
  return class extends StepHandler {
    static handlerName = name;

    async call(context: StepContext): Promise<StepHandlerResult> {
      return this.success(await call(context));
    }
  };
}

function text(context: StepContext, key: string): string {
  return context.getInputOr<string>(key, '');
}

function number(context: StepContext, key: string): number {
  return Number(context.getInputOr<number>(key, 0));
}

const echo = handler('live_echo', (context) => ({
  language: LANGUAGE,
  input: context.inputData,
  dependencies: Object.fromEntries(
    context.getDependencyResultKeys().map((name) => [name, context.getDependencyResult(name)]),
  ),
  attempt: context.retryCount + 1,
  config: context.stepConfig,
}));

const add = handler('live_add', (context) => {
  const from = context.getConfig<string[]>('from') ?? [];
  const sums = from.map((step) => Number(context.getDependencyField(step, 'sum') ?? 0));
  return { sum: sums.reduce((one, other) => one + other, Number(context.getConfig('add') ?? 0)) };
});

class Decide extends StepHandler {
  static handlerName = 'live_decide';
  readonly #decision = applyDecision(this);

  async call(context: StepContext): Promise<StepHandlerResult> {
    const route = context.getInput<string>('route');
    switch (route) {
      case 'both':
        return this.#decision.decisionSuccess(['left', 'right'], { route });
      case 'left':
        return this.#decision.decisionSuccess(['left']);
      case 'none':
        return this.#decision.skipBranches('nothing wanted');
      default:
        return this.#decision.decisionFailure(`unknown route: ${route}`);
    }
  }
}

class Analyze extends StepHandler {
  static handlerName = 'live_analyze';
  readonly #batch = applyBatchable(this);

  async call(context: StepContext): Promise<StepHandlerResult> {
    const outcome = this.#batch.createBatchOutcome(number(context, 'total'), number(context, 'batch_size'));
    return this.#batch.batchAnalyzerSuccess(outcome, {}, 'process_batch');
  }
}

class Batch extends StepHandler {
  static handlerName = 'live_batch';
  readonly #batch = applyBatchable(this);

  async call(context: StepContext): Promise<StepHandlerResult> {
    const batch = this.#batch.getBatchContext(context);
    if (batch === null) {
      throw new PermanentError('this is no batch worker');
    }
    const start = Number(batch.startCursor);
    const end = Number(batch.endCursor);
    const saved = context.accumulatedResults as { sum: number } | null;
    let sum = saved?.sum ?? 0;
    for (let item = Number(context.checkpointCursor ?? start); item < end; item += 1) {
      killIfDue(context, item);
      appendFileSync(text(context, 'log_file'), `${batch.batchId} ${item}\n`);
      sum += item;
      const done = item + 1 - start;
      const every = number(context, 'checkpoint_every');
      if (every > 0 && done % every === 0 && item + 1 < end) {
        return this.#batch.checkpointYield(item + 1, done, { sum });
      }
    }
    const size = end - start;
    return this.#batch.batchWorkerSuccess(this.#batch.createWorkerOutcome(size, size, 0, 0, [{ sum }]));
  }
}

/** Kill this process before an item, once. */
function killIfDue(context: StepContext, item: number): void {
  const flag = text(context, 'kill_flag');
  if (context.getInput('kill_at') === item && !existsSync(flag)) {
    writeFileSync(flag, '');
    process.kill(process.pid, 'SIGKILL');
  }
}

interface BatchResult {
  items_processed: number;
  results: { sum: number }[];
}

class Aggregate extends StepHandler {
  static handlerName = 'live_aggregate';
  readonly #batch = applyBatchable(this);

  async call(context: StepContext): Promise<StepHandlerResult> {
    const scenario = this.#batch.detectAggregationScenario(context.dependencyResults, 'analyze', 'process_batch_');
    if (scenario.isNoBatches) {
      return this.success({ skipped: true, total: 0 });
    }
    const results = Object.values(scenario.batchResults) as unknown as BatchResult[];
    return this.success({
      total: results.reduce((total, result) => total + result.items_processed, 0),
      worker_count: scenario.workerCount,
      sum: results.reduce((sum, result) => sum + (result.results[0]?.sum ?? 0), 0),
    });
  }
}

class Retry extends StepHandler {
  static handlerName = 'live_retry';

  async call(context: StepContext): Promise<StepHandlerResult> {
    if (context.retryCount >= number(context, 'failures')) {
      return this.success({ attempts: context.retryCount + 1 });
    }
    if (context.retryCount % 2 === 0) {
      throw new RetryableError('not yet');
    }
    return this.failure('not yet', 'retryable_error', true);
  }
}

const permanent = handler('live_permanent', () => Promise.reject(new PermanentError('card declined')));

const wait = handler('live_wait', async (context) => {
  const file = text(context, 'signal_file');
  appendFileSync(file, 'started\n');
  await new Promise((resolve) => context.signal.addEventListener('abort', resolve));
  appendFileSync(file, 'cancelled\n');
  return {};
});

const block = handler('live_block', (context) => {
  const file = text(context, 'signal_file');
  if (file !== '') {
    appendFileSync(file, `started ${process.pid}\n`);
  }
  const nobodyWakes = new Int32Array(new SharedArrayBuffer(4));
  Atomics.wait(nobodyWakes, 0, 0, number(context, 'block_seconds') * 1000);
  return { blocked: true };
});

const hold = handler('live_hold', async (context) => {
  appendFileSync(text(context, 'signal_file'), `started ${process.pid}\n`);
  while (!existsSync(text(context, 'release_file'))) {
    await sleep(LOOK_MS);
  }
  return { pid: process.pid };
});

const slow = handler('live_slow', async (context) => {
  if (context.isRetry()) {
    return { attempts: context.retryCount + 1 };
  }
  await sleep(number(context, 'seconds') * 1000);
  return { slow: true };
});

const noop = handler('live_noop', () => ({}));

class Methods extends StepHandler {
  static handlerName = 'live_methods';

  async call(): Promise<StepHandlerResult> {
    return this.success({ method: 'call' });
  }

  async refund(): Promise<StepHandlerResult> {
    return this.success({ method: 'refund' });
  }
}

const functional = defineHandler(
  'live_function',
  { depends: { total: 'first' }, inputs: { orderId: 'order_id' } },
  async ({ total, orderId }) => ({ order_id: orderId, total }),
);

function language(name: string): StepHandlerClass {
  return handler(name, (context) => {
    const after = context.getConfig<string>('after');
    const trail = after === undefined ? [] : ((context.getDependencyField(after, 'trail') as string[] | null) ?? []);
    return { language: LANGUAGE, trail: [...trail, LANGUAGE] };
  });
}

/** All of them. */
export const HANDLERS: readonly StepHandlerClass[] = [
  echo,
  add,
  Decide,
  Analyze,
  Batch,
  Aggregate,
  Retry,
  permanent,
  wait,
  block,
  hold,
  slow,
  noop,
  Methods,
  functional,
  language('live_language'),
  language(`live_${LANGUAGE}`),
];
