/** Handlers from functions, beyond what the conformance vectors say. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { defineHandler, HandlerRegistry, ResolverChain, StepHandlerResult } from '@tasker-systems/tasker';
import { makeContext, runHandler } from '@tasker-systems/tasker/testing';

describe('a handler function', () => {
  it('makes a class of its name', () => {
    const Charge = defineHandler('charge_card', { version: '2.0.0' }, () => ({}));
    assert.deepEqual([Charge.handlerName, Charge.handlerVersion, Charge.name], ['charge_card', '2.0.0', 'charge_card']);
    const handler = new Charge();
    assert.deepEqual([handler.name, handler.version], ['charge_card', '2.0.0']);
    assert.equal(defineHandler('other', {}, () => ({})).handlerVersion, '1.0.0');
  });

  it('gets dependencies, inputs and the context', async () => {
    const options = { depends: { cart: 'validate', gone: 'absent' }, inputs: { id: 'order_id', missing: 'missing' } };
    const Charge = defineHandler('args', options, (args) => ({ ...args, context: args.context.stepUuid }));
    const context = makeContext({
      inputData: { order_id: 7 },
      dependencyResults: { validate: { result: { total: 5 } } },
    });
    assert.deepEqual((await runHandler(Charge, context)).result, {
      cart: { total: 5 },
      gone: null,
      id: 7,
      missing: undefined,
      context: context.stepUuid,
    });
  });

  it('may return a result of its own', async () => {
    const failure = StepHandlerResult.failure('bad', 'mine', false);
    assert.equal(
      await runHandler(
        defineHandler('own_result', {}, () => failure),
        makeContext(),
      ),
      failure,
    );
  });

  it('fails with the class of what it threw', async () => {
    const Fails = defineHandler('fails', {}, () => {
      throw new RangeError('too far');
    });
    const { errorType, retryable, metadata } = await runHandler(Fails, makeContext());
    assert.deepEqual([errorType, retryable], ['handler_error', true]);
    assert.deepEqual([metadata['errorType'], metadata['exception_class']], ['RangeError', 'RangeError']);
  });

  it('is known without registration, to the default resolvers and to every registry', async () => {
    const First = defineHandler('declared_once', {}, () => ({ n: 1 }));
    assert.ok((await new HandlerRegistry().resolve('declared_once')) instanceof First);
    assert.ok(new HandlerRegistry().listCallables().includes('declared_once'));
    assert.ok((await (await ResolverChain.default()).resolve({ callable: 'declared_once' })) instanceof First);
    const Second = defineHandler('declared_once', {}, () => ({ n: 2 }));
    assert.ok(new HandlerRegistry().resolveSync('declared_once') instanceof Second);
  });

  it('gives way to a registered class of its name', async () => {
    defineHandler('declared_twice', {}, () => ({ from: 'function' }));
    const registry = new HandlerRegistry();
    const Other = defineHandler('other_name', {}, () => ({ from: 'registered' }));
    registry.register('declared_twice', Other);
    assert.ok((await registry.resolve('declared_twice')) instanceof Other);
  });

  it('must be a function', () => {
    assert.throws(() => defineHandler('no_function', {}, undefined as never), /'no_function' needs a function/);
  });
});
