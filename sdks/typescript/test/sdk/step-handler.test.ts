/** Handler classes, their results and errors. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  ErrorType,
  isStandardErrorType,
  isTypicallyRetryable,
  PermanentError,
  RetryableError,
  StepHandler,
  StepHandlerResult,
} from '@tasker-systems/tasker';
import { makeContext, runHandler } from '@tasker-systems/tasker/testing';

class Charge extends StepHandler {
  static override handlerName = 'charge';

  async call() {
    return this.success({ a: 1 }, { m: 2 });
  }

  fails(...rest: [string?, boolean?, Record<string, unknown>?, string?]) {
    return this.failure('bad', ...rest);
  }
}

class Unnamed extends StepHandler {
  async call() {
    return this.success({});
  }
}

describe('a handler', () => {
  it('has the name and version of its class', () => {
    const handler = new Charge();
    assert.deepEqual([handler.name, handler.version, handler.capabilities], ['charge', '1.0.0', ['process']]);
    assert.equal(String(handler), 'Charge(name=charge, version=1.0.0)');
    assert.equal(handler.configSchema(), null);
    assert.equal(new Unnamed().name, 'Unnamed');
  });

  it('fails with handler_error, retryable, unless it says otherwise', () => {
    const { errorType, retryable, metadata, errorCode, result } = new Charge().fails();
    assert.deepEqual([errorType, retryable, metadata, errorCode, result], ['handler_error', true, {}, null, null]);
    const chosen = new Charge().fails('mine', false, { k: 1 }, 'E1');
    assert.deepEqual(
      [chosen.errorType, chosen.retryable, chosen.metadata, chosen.errorCode],
      ['mine', false, { k: 1 }, 'E1'],
    );
  });
});

describe('a result', () => {
  it('has eight keys in JSON', () => {
    assert.deepEqual(JSON.parse(JSON.stringify(StepHandlerResult.success({ a: 1 }, { m: 2 }))), {
      success: true,
      result: { a: 1 },
      error_message: null,
      error_type: null,
      error_code: null,
      retryable: true,
      metadata: { m: 2 },
      orchestration_metadata: null,
    });
    assert.equal(Object.keys(StepHandlerResult.failure('bad').toJSON()).length, 8);
  });

  it('is a success or a failure', () => {
    assert.deepEqual(
      [StepHandlerResult.success({}).isSuccess(), StepHandlerResult.success({}).isFailure()],
      [true, false],
    );
    assert.deepEqual(
      [StepHandlerResult.failure('x').isSuccess(), StepHandlerResult.failure('x').isFailure()],
      [false, true],
    );
  });
});

describe('errors', () => {
  it('say whether trying again may help', () => {
    const permanent = new PermanentError('no');
    const retryable = new RetryableError('later', { after: 5 });
    assert.ok(permanent instanceof Error);
    assert.deepEqual([permanent.name, permanent.retryable, permanent.metadata], ['PermanentError', false, {}]);
    assert.deepEqual([retryable.name, retryable.retryable, retryable.metadata], ['RetryableError', true, { after: 5 }]);
  });

  it('take a text as their code', async () => {
    class Declines extends StepHandler {
      async call(): Promise<StepHandlerResult> {
        throw new PermanentError('declined', 'CARD_DECLINED');
      }
    }
    const result = await runHandler(Declines, makeContext());
    assert.equal(result.errorCode, 'CARD_DECLINED');
    assert.equal(result.metadata['error_code'], 'CARD_DECLINED');
  });

  it('of a class that extends them count as them', async () => {
    class CardDeclined extends PermanentError {}
    class Declines extends StepHandler {
      async call(): Promise<StepHandlerResult> {
        throw new CardDeclined('declined');
      }
    }
    const result = await runHandler(Declines, makeContext());
    assert.deepEqual([result.errorType, result.retryable], ['permanent_error', false]);
    assert.equal(result.metadata['exception_class'], 'CardDeclined');
  });
});

describe('error types', () => {
  it('are five', () => {
    const all = ['permanent_error', 'retryable_error', 'validation_error', 'timeout', 'handler_error'];
    assert.deepEqual(Object.values(ErrorType), all);
    assert.ok(all.every(isStandardErrorType));
    assert.equal(isStandardErrorType('mine'), false);
  });

  it('of two kinds usually go away', () => {
    assert.deepEqual(Object.values(ErrorType).filter(isTypicallyRetryable), ['retryable_error', 'timeout']);
  });
});
