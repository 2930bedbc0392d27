/** What a handler gets to know, beyond what the conformance vectors say. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type FfiStepEvent, StepContext } from '@tasker-systems/tasker';
import { makeContext, makeStepEvent } from '@tasker-systems/tasker/testing';

describe('a context', () => {
  it('can be made by hand, with an event that has nothing in it', () => {
    const context = new StepContext({
      event: {} as FfiStepEvent,
      taskUuid: 't',
      stepUuid: 's',
      correlationId: 'c',
      handlerName: 'h',
      inputData: { a: 1 },
      dependencyResults: {},
      stepConfig: {},
      stepInputs: {},
      retryCount: 0,
      maxRetries: 3,
    });
    assert.equal(context.checkpoint, null);
    assert.equal(context.hasCheckpoint(), false);
    assert.equal(context.isCancelled, false);
    assert.equal(context.taskContext, context.inputData);
  });

  it('comes from an event', () => {
    const event = makeStepEvent({
      task: { context: { a: 1 } },
      workflowStep: { inputs: { b: 2 }, attempts: 2, maxAttempts: 5, checkpoint: { cursor: 7, items_processed: 3 } },
      stepDefinition: { handlerInitialization: { c: 3 } },
      dependencyResults: { one: { stepUuid: 'x', success: true, status: 'completed', result: { d: 4 } } },
    });
    const context = StepContext.fromFfiEvent(event, 'h');
    assert.deepEqual(context.inputData, { a: 1 });
    assert.deepEqual(context.stepInputs, { b: 2 });
    assert.equal(context.getConfig<number>('c'), 3);
    assert.deepEqual(context.getDependencyResult('one'), { d: 4 });
    assert.deepEqual([context.retryCount, context.maxRetries], [2, 5]);
    assert.deepEqual([context.checkpointCursor, context.checkpointItemsProcessed], [7, 3]);
  });

  it('reads results that come without an envelope', () => {
    const context = makeContext({ dependencyResults: { bare: { total: 3 }, number: 7, none: null } });
    assert.deepEqual(context.getDependencyResult('bare'), { total: 3 });
    assert.equal(context.getDependencyResult('number'), 7);
    assert.equal(context.getDependencyResult('none'), null);
  });

  it('reads fields of lists, and nothing that data does not have', () => {
    const context = makeContext({ dependencyResults: { list: { result: { rows: [{ id: 1 }] } } } });
    assert.equal(context.getDependencyField('list', 'rows', '0', 'id'), 1);
    assert.equal(context.getDependencyField('list', 'rows', '1', 'id'), null);
    assert.equal(context.getDependencyField('list', 'toString'), null);
    assert.equal(context.getDependencyResult('constructor'), null);
  });
});
