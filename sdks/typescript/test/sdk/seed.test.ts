/** The TypeScript snippet of the chapter "Class-Based Handlers" runs exactly as it is written there. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { ErrorType, HandlerRegistry, StepContext } from '@tasker-systems/tasker';
import { makeContext } from '@tasker-systems/tasker/testing';
import { ProcessOrderHandler } from '../seed/process_order_handler.js';

const CHAPTER = new URL('../../../../../tests/seed/class-based-handlers.txt', import.meta.url);
const SOURCE = new URL('../../../test/seed/process_order_handler.ts', import.meta.url);

function snippet(): string {
  const chapter = readFileSync(CHAPTER, 'utf8');
  const [, found] = /\nTypeScript\n\n(import \{[\s\S]*?\n\}\n)\nRust\n/.exec(chapter) ?? [];
  assert.ok(found, 'the chapter has the snippet');
  return found;
}

describe('the handler of the chapter', () => {
  it('is the one that is tested here', () => {
    assert.equal(readFileSync(SOURCE, 'utf8'), snippet());
  });

  it('succeeds', async () => {
    const result = await new ProcessOrderHandler().call(makeContext({ inputData: { order_id: 1 } }));
    assert.equal(result.success, true);
    assert.deepEqual(result.result, { processed: true, handler: 'process_order' });
  });

  it('turns what is thrown into a retryable failure', async () => {
    class Unreadable extends StepContext {}
    const context = Object.create(Unreadable.prototype, {
      inputData: {
        get() {
          throw new Error('no input');
        },
      },
    }) as StepContext;
    const result = await new ProcessOrderHandler().call(context);
    assert.equal(result.errorType, ErrorType.RETRYABLE_ERROR);
    assert.equal(result.errorMessage, 'no input');
    assert.equal(result.retryable, true);
  });

  it('is found by its name and by the name of its class', async () => {
    const registry = new HandlerRegistry();
    registry.register(ProcessOrderHandler.handlerName, ProcessOrderHandler);
    for (const callable of ['process_order', 'ProcessOrderHandler']) {
      assert.ok((await registry.resolve(callable)) instanceof ProcessOrderHandler, callable);
    }
    assert.deepEqual(registry.listHandlers(), ['process_order']);
    assert.ok(registry.listCallables().includes('ProcessOrderHandler'));
  });
});

describe('the context access patterns of the chapter', () => {
  it('read the input, and the result of a dependency', () => {
    const context = makeContext({ inputData: { a: 1 }, dependencyResults: { step: { result: { b: 2 } } } });
    assert.deepEqual(context.inputData, { a: 1 });
    assert.deepEqual(context.getDependencyResult('step'), { b: 2 });
  });

  it('tell success and failure', async () => {
    class Patterns extends ProcessOrderHandler {
      override async call() {
        return this.success({ data: 1 });
      }
      async fail() {
        return this.failure('msg', 'type', false);
      }
    }
    assert.deepEqual((await new Patterns().call()).result, { data: 1 });
    const { errorMessage, errorType, retryable } = await new Patterns().fail();
    assert.deepEqual([errorMessage, errorType, retryable], ['msg', 'type', false]);
  });
});
