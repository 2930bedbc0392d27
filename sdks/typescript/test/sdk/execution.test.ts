/** One attempt, from the lease to what is reported. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  BatchableMixin,
  type ExecutableHandler,
  type HandlerDefinition,
  HandlerRegistry,
  type StepContext,
  StepHandler,
  StepHandlerResult,
  type WireResult,
} from '@tasker-systems/tasker';
import { executeLease, handlerTimeout, workerShutdown } from '../../src/execution.js';
import { checkpointOf, completionOf, type LeaseOptions, makeLease } from './support.js';

type Call = (context: StepContext) => unknown;

function run(
  call: Call,
  lease: Partial<LeaseOptions> = {},
  signal = new AbortController().signal,
): Promise<WireResult> {
  class Subject extends StepHandler {
    static override handlerName = 'subject';
    static override handlerVersion = '3.1.0';

    async call(context: StepContext): Promise<StepHandlerResult> {
      return call(context) as StepHandlerResult;
    }
  }
  return executeLease(makeLease({ callable: 'subject', ...lease }), {
    resolve: () => Promise.resolve(new Subject()),
    signal,
    workerId: 'w-1',
  });
}

describe('executing a lease', () => {
  it('reports the result with the facts of the attempt', async () => {
    const result = completionOf(await run(() => StepHandlerResult.success({ a: 1 }, { m: 2 })));
    assert.equal(result.step_uuid, 'step');
    assert.equal(result.lease_id, 17);
    assert.deepEqual(result.result, { a: 1 });
    assert.deepEqual(result.metadata.custom, { m: 2 });
    assert.equal(result.metadata.handler_version, '3.1.0');
    assert.equal(result.metadata.worker_id, 'w-1');
    assert.equal(result.metadata.retryable, false);
    assert.ok(Number.isInteger(result.metadata.execution_time_ms));
    assert.ok(Date.parse(result.metadata.started_at) <= Date.parse(result.metadata.completed_at));
  });

  it('gives the handler the context of the lease', async () => {
    const lease = { input: { order: 'A-1' }, dependencies: { validate: { total: 5 } } };
    const seen = completionOf(
      await run((context) => {
        const { event, taskUuid, stepUuid, correlationId, handlerName, inputData } = context;
        const { namespace, name, version } = event.task;
        const total = context.getDependencyField('validate', 'total');
        const names = [namespace, name, version, event.workflowStep.name, handlerName];
        return { taskUuid, stepUuid, correlationId, inputData, total, names };
      }, lease),
    );
    assert.deepEqual(seen.result, {
      taskUuid: 'task',
      stepUuid: 'step',
      correlationId: 'correlation',
      inputData: { order: 'A-1' },
      total: 5,
      names: ['shop', 'order', '2.0.0', 'charge', 'subject'],
    });
  });

  it('takes a task that is not nested', async () => {
    const lease = makeLease({ callable: 'subject' });
    lease.task_sequence_step.task = { task_name: 'flat', context: { a: 1 } };
    const handler = { name: 'h', version: '1', capabilities: [], configSchema: () => null };
    const call = async ({ inputData, event }: StepContext) =>
      StepHandlerResult.success({ inputData, name: event.task.name });
    const options = { signal: new AbortController().signal, workerId: 'w' };
    const result = await executeLease(lease, { ...options, resolve: async () => ({ ...handler, call }) });
    assert.deepEqual(completionOf(result).result, { inputData: { a: 1 }, name: 'flat' });
  });

  it('tells the handler when its result does not matter any more', async () => {
    const controller = new AbortController();
    const aborted = run(
      ({ signal, isCancelled }) => {
        const before = isCancelled;
        controller.abort();
        return { before, after: signal.aborted };
      },
      {},
      controller.signal,
    );
    assert.deepEqual(completionOf(await aborted).result, { before: false, after: true });
  });

  it('takes what a handler returns instead of a result', async () => {
    assert.deepEqual(completionOf(await run(() => ({ a: 1 }))).result, { a: 1 });
    assert.deepEqual(completionOf(await run(() => undefined)).result, {});
    assert.deepEqual(completionOf(await run(() => [1])).result, { result: [1] });
  });

  it('takes the results and errors of another copy of the package', async () => {
    class Other {
      success = true;
      result = { a: 1 };
      metadata = {};
      orchestrationMetadata = null;
    }
    Object.defineProperty(Other, 'name', { value: 'StepHandlerResult' });
    assert.deepEqual(completionOf(await run(() => new Other())).result, { a: 1 });
    const error = Object.assign(new Error('no'), { name: 'PermanentError', metadata: { k: 1 } });
    const failed = completionOf(
      await run(() => {
        throw error;
      }),
    );
    assert.equal(failed.error?.error_type, 'permanent_error');
    assert.equal(failed.error?.retryable, false);
  });

  it('reports anything that is thrown', async () => {
    for (const [thrown, message] of [
      ['text', 'text'],
      [undefined, 'undefined'],
      [null, 'null'],
      [Object.create(null), 'Object'],
      [new TypeError(''), 'TypeError'],
    ] as const) {
      const result = completionOf(
        await run(() => {
          throw thrown;
        }),
      );
      assert.equal(result.error?.message, message);
      assert.equal(result.error?.error_type, 'handler_error');
      assert.equal(result.error?.retryable, true);
    }
  });

  it('keeps the class and the stack of an unexpected error', async () => {
    const { custom } = completionOf(
      await run(() => {
        throw new RangeError('too far');
      }),
    ).metadata;
    assert.equal(custom['exception_class'], 'RangeError');
    assert.match(String(custom['traceback']), /RangeError: too far\n\s+at /);
  });

  it('calls the time limit of a fetch a timeout', async () => {
    const result = completionOf(
      await run(() => {
        throw new DOMException('The operation was aborted due to timeout', 'TimeoutError');
      }),
    );
    assert.equal(result.error?.error_type, 'timeout');
    assert.equal(result.error?.retryable, true);
  });

  it('escapes in messages what cannot be stored', async () => {
    const result = completionOf(await run(() => StepHandlerResult.failure('a\0b\ud800c\u{1f600}')));
    assert.equal(result.error?.message, 'a\\x00b\\ud800c\u{1f600}');
  });

  it('does not cut a character in half', async () => {
    const result = completionOf(await run(() => StepHandlerResult.failure(`${'x'.repeat(9_999)}\u{1f600}`)));
    assert.equal(result.error?.message, 'x'.repeat(9_999));
  });

  it('fails for good if a result, its metadata or a checkpoint has no JSON form', async () => {
    const circular: Record<string, unknown> = {};
    circular['self'] = circular;
    const yielded = new BatchableMixin().checkpointYield(10n, 1);
    for (const value of [StepHandlerResult.success(circular), StepHandlerResult.success({}, { amount: 1n }), yielded]) {
      const result = completionOf(await run(() => value));
      assert.equal(result.success, false);
      assert.equal(result.status, 'error');
      assert.equal(result.error?.error_type, 'SERIALIZATION_ERROR');
      assert.equal(result.error?.retryable, false);
      assert.ok(String(result.metadata.custom['serialization_error']).length > 0);
    }
  });

  it('reports a failure as itself even if its metadata has no JSON form', async () => {
    const result = completionOf(await run(() => StepHandlerResult.failure('bad', 'mine', true, { amount: 1n })));
    assert.equal(result.error?.error_type, 'mine');
    assert.ok(result.metadata.custom['metadata_dropped']);
  });

  it('reports what the result was when the handler returned it', async () => {
    const rows: number[] = [1];
    const result = completionOf(await run(() => StepHandlerResult.success({ rows })));
    rows.push(2);
    assert.deepEqual(result.result, { rows: [1] });
  });

  it('reports a checkpoint instead of a result', async () => {
    const result = await run(() => new BatchableMixin().checkpointYield({ page: 2 }, 50, { sum: 1 }));
    assert.deepEqual(checkpointOf(result), {
      cursor: { page: 2 },
      items_processed: 50,
      accumulated_results: { sum: 1 },
    });
    assert.deepEqual(Object.keys(result).sort(), ['checkpoint', 'lease_id', 'step_uuid']);
  });

  it('fails for good if the step names no handler', async () => {
    const lease = makeLease({ callable: '' });
    lease.task_sequence_step.workflow_step.template_step_name = null;
    const result = await executeLease(lease, {
      resolve: () => Promise.reject(new Error('not asked')),
      signal: new AbortController().signal,
      workerId: 'w',
    });
    assert.equal(completionOf(result).error?.error_type, 'permanent_error');
    assert.equal(completionOf(result).error?.retryable, false);
  });

  it('asks for the handler with all that the template says of it', async () => {
    const lease = makeLease({ callable: 'subject' });
    lease.task_sequence_step.step_definition.handler = {
      callable: 'billing',
      method: 'refund',
      resolver: 'mine',
      initialization: { a: 1 },
    };
    const asked: HandlerDefinition[] = [];
    const resolve = async (definition: HandlerDefinition): Promise<ExecutableHandler | null> => {
      asked.push(definition);
      return null;
    };
    await executeLease(lease, { resolve, signal: new AbortController().signal, workerId: 'w' });
    assert.deepEqual(asked, [{ callable: 'billing', method: 'refund', resolver: 'mine', initialization: { a: 1 } }]);
  });

  it('says why a handler was not found', async () => {
    class Billing extends StepHandler {
      static override handlerName = 'billing';
      async call() {
        return this.success({});
      }
    }
    const registry = new HandlerRegistry();
    registry.register('billing', Billing);
    const lease = makeLease({ callable: 'billing' });
    lease.task_sequence_step.step_definition.handler = { callable: 'billing', method: 'toString' };
    const result = completionOf(
      await executeLease(lease, {
        resolve: (definition) => registry.resolve(definition),
        signal: new AbortController().signal,
        workerId: 'w',
      }),
    );
    assert.equal(result.error?.message, 'Handler not found: billing');
    assert.match(String(result.metadata.custom['reason']), /no method 'toString'/);
  });
});

describe('results without a handler', () => {
  it('name the time limit', () => {
    const result = completionOf(handlerTimeout(makeLease({ callable: 'x' }), 1500, 'w'));
    assert.equal(result.error?.error_type, 'handler_timeout');
    assert.match(result.error?.message ?? '', /1500 ms/);
  });

  it('let a step start again at once when its worker stops', () => {
    const result = completionOf(workerShutdown(makeLease({ callable: 'x' }), 'w'));
    assert.equal(result.error?.error_type, 'worker_shutdown');
    assert.equal(result.error?.retryable, true);
    assert.deepEqual(result.metadata.custom, { retry_after_seconds: 0 });
  });
});
