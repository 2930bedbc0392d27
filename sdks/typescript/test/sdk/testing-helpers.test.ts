/** The helpers that authors test their handlers with. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DefaultPublisher, type StepContext, StepHandler, StepHandlerResult } from '@tasker-systems/tasker';
import {
  EventCapture,
  MockEventPublisher,
  makeContext,
  makeStepEvent,
  runHandler,
  stripVolatile,
  toWireResult,
} from '@tasker-systems/tasker/testing';

const RESULT = { success: true, result: { a: 1 } };

describe('a context for a test', () => {
  it('is empty unless the test says otherwise', () => {
    const context = makeContext();
    assert.deepEqual(
      [context.inputData, context.dependencyResults, context.stepConfig, context.stepInputs],
      [{}, {}, {}, {}],
    );
    assert.deepEqual([context.retryCount, context.maxRetries, context.hasCheckpoint()], [0, 3, false]);
  });

  it('has what the test says, in its event, too', () => {
    const context = makeContext({
      inputData: { a: 1 },
      retryCount: 2,
      checkpoint: { cursor: 5 },
      signal: AbortSignal.abort(),
    });
    assert.deepEqual(context.event.task.context, { a: 1 });
    assert.equal(context.event.workflowStep.attempts, 2);
    assert.deepEqual([context.checkpointCursor, context.isRetry(), context.isCancelled], [5, true, true]);
  });
});

describe('running a handler', () => {
  it('makes a failure of what it throws', async () => {
    class Throws extends StepHandler {
      static override handlerName = 'throws';
      async call(_: StepContext): Promise<StepHandlerResult> {
        throw new Error('boom');
      }
    }
    assert.equal((await runHandler(Throws, makeContext())).errorMessage, 'boom');
    assert.equal((await runHandler(new Throws(), makeContext())).errorType, 'handler_error');
  });
});

describe('results for comparison', () => {
  it('are what a worker reports, without what differs from run to run', () => {
    const wire = toWireResult(makeStepEvent({ stepUuid: 's' }), StepHandlerResult.success({ a: 1 }), 12);
    assert.equal((wire['metadata'] as { execution_time_ms: number }).execution_time_ms, 12);
    assert.deepEqual(stripVolatile(wire), {
      step_uuid: 's',
      success: true,
      status: 'completed',
      result: { a: 1 },
      metadata: {
        handler_version: null,
        retryable: false,
        custom: {},
        error_code: null,
        error_type: null,
        context: {},
      },
      error: null,
      orchestration_metadata: null,
    });
  });

  it('lose times and generated ids on all levels', () => {
    const value = { created_at: 1, firedAt: 2, list: [{ event_id: 3, kept: null }], flat: 'x' };
    assert.deepEqual(stripVolatile(value), { list: [{ kept: null }], flat: 'x' });
  });
});

describe('a mock publisher', () => {
  it('records events, and fails if it is told to', () => {
    const publisher = new MockEventPublisher();
    publisher.publish({ eventName: 'order.created', stepResult: RESULT });
    publisher.publish({ eventName: 'payment.done', stepResult: RESULT });
    assert.deepEqual(publisher.eventsByName('payment.done')[0]?.payload, { a: 1 });
    assert.equal(publisher.eventsMatching('order.*').length, 1);
    publisher.simulateFailure(new Error('down'));
    assert.equal(publisher.publish({ eventName: 'a', stepResult: RESULT }), false);
    publisher.clearFailure();
    assert.equal(publisher.publish({ eventName: 'a', stepResult: RESULT }), true);
    assert.equal(publisher.publishedEvents.length, 3);
    publisher.clear();
    assert.equal(publisher.publishedEvents.length, 0);
  });
});

describe('an event capture', () => {
  it('waits for events', async () => {
    const capture = new EventCapture().subscribeTo('order.*');
    const waiting = capture.waitForEvents(1);
    new DefaultPublisher().publish({ eventName: 'payment.done', stepResult: RESULT });
    new DefaultPublisher().publish({ eventName: 'order.created', stepResult: RESULT });
    assert.deepEqual(
      (await waiting).map(({ eventName }) => eventName),
      ['order.created'],
    );
    assert.equal(capture.eventsByName('order.created').length, 1);
    capture.clear();
    await assert.rejects(capture.waitForEvents(1, 10), /waited 10 ms for 1 events, there are 0/);
    capture.stop();
  });
});
