/** How callables become handlers. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  ClassLookupResolver,
  type ExecutableHandler,
  ExplicitMappingResolver,
  effectiveMethod,
  fromCallable,
  fromDto,
  type HandlerDefinition,
  HandlerRegistry,
  HandlerSystem,
  hasResolverHint,
  MethodDispatchError,
  MethodDispatchWrapper,
  normalizeToDefinition,
  RegistryResolver,
  ResolverChain,
  ResolverNotFoundError,
  StepHandler,
  usesMethodDispatch,
} from '@tasker-systems/tasker';
import { makeContext } from '@tasker-systems/tasker/testing';

class Billing extends StepHandler {
  static override handlerName = 'billing';
  readonly note = 'kept';

  async call() {
    return this.success({ method: 'call' });
  }

  async refund() {
    return this.success({ method: 'refund', note: this.note });
  }
}

class Arrow extends StepHandler {
  static override handlerName = 'arrow';
  call = async () => this.success({ arrow: true });
}

async function resultOf(handler: ExecutableHandler | null): Promise<unknown> {
  return (await handler?.call(makeContext()))?.result;
}

describe('a handler definition', () => {
  it('comes from a callable, from the wire, or from an event', () => {
    const initialization = { a: 1 };
    const full = { callable: 'c', method: 'm', resolver: 'r', initialization };
    const event = {
      handlerCallable: 'c',
      handlerMethod: 'm',
      handlerResolver: 'r',
      handlerInitialization: initialization,
    };
    assert.deepEqual(fromCallable('c'), { callable: 'c', method: null, resolver: null, initialization: {} });
    assert.deepEqual(fromDto(full), full);
    assert.deepEqual(fromDto(event), full);
    assert.deepEqual(normalizeToDefinition('c'), fromCallable('c'));
    assert.deepEqual(normalizeToDefinition(full), full);
  });

  it('takes an empty method or resolver for none', () => {
    const empty = { callable: 'c', method: '', resolver: '' };
    assert.deepEqual(
      [effectiveMethod(empty), usesMethodDispatch(empty), hasResolverHint(empty)],
      ['call', false, false],
    );
    const full = { callable: 'c', method: 'm', resolver: 'r' };
    assert.deepEqual([effectiveMethod(full), usesMethodDispatch(full), hasResolverHint(full)], ['m', true, true]);
  });
});

describe('a registry', () => {
  it('makes a new handler for every resolution', async () => {
    const registry = new HandlerRegistry();
    await registry.initialize();
    registry.register('billing', Billing);
    const first = await registry.resolve('billing');
    assert.ok(first instanceof Billing);
    assert.notEqual(await registry.resolve('billing'), first);
    assert.ok(registry.resolveSync('billing') instanceof Billing);
    assert.equal(await registry.resolve('unknown'), null);
    assert.deepEqual(registry.debugInfo(), { initialized: true, handlerCount: 1, handlers: ['billing'] });
  });

  it('refuses what is no name or no class', () => {
    const registry = new HandlerRegistry();
    assert.throws(() => registry.register('', Billing), /name/);
    assert.throws(() => registry.register(7 as never, Billing), /name/);
    assert.throws(() => registry.register('x', {} as never), /class/);
  });

  it('forgets handlers', async () => {
    const registry = new HandlerRegistry();
    registry.register('billing', Billing);
    assert.equal(registry.isRegistered('Billing'), true);
    assert.equal(registry.unregister('billing'), true);
    assert.equal(registry.unregister('billing'), false);
    assert.equal(registry.isRegistered('Billing'), false);
    assert.equal(await registry.resolve('Billing'), null);
    registry.register('billing', Billing);
    registry.clear();
    assert.equal(registry.handlerCount(), 0);
  });

  it('takes handlers whose call is a field, and factories', async () => {
    const registry = new HandlerRegistry();
    registry.register('arrow', Arrow);
    registry.register('factory', (config) => Object.assign(new Billing(), { note: String(config['note']) }));
    assert.deepEqual(await resultOf(await registry.resolve('arrow')), { arrow: true });
    const definition = { callable: 'factory', method: 'refund', initialization: { note: 'from config' } };
    assert.deepEqual(await resultOf(await registry.resolve(definition)), { method: 'refund', note: 'from config' });
  });

  it('asks resolvers of the application', async () => {
    class Payments extends RegistryResolver {
      static override _name = 'payments';
      static override _priority = 5;
      static override pattern = /^payments\.(?<kind>\w+)$/g;

      resolveHandler(_: HandlerDefinition, match: RegExpMatchArray | null) {
        return match?.groups?.['kind'] === 'billing' ? new Billing() : null;
      }
    }
    const registry = new HandlerRegistry();
    registry.addResolver(new Payments());
    assert.ok((await registry.resolve('payments.billing')) instanceof Billing);
    assert.equal(await registry.resolve('payments.other'), null);
    assert.equal(registry.getResolver('payments')?.priority, 5);
    class Legacy extends RegistryResolver {
      static override prefix = 'legacy.';

      resolveHandler({ callable }: HandlerDefinition) {
        return callable === 'legacy.billing' ? new Billing() : null;
      }
    }
    registry.addResolver(new Legacy());
    assert.ok((await registry.resolve('legacy.billing')) instanceof Billing);
    assert.equal(await registry.resolve('billing'), null);
    const names = (await registry.listResolvers()).map(([name]) => name);
    assert.deepEqual(names, ['payments', 'explicit_mapping', 'declared_handlers', 'custom_resolver', 'class_lookup']);
  });

  it('has the same handlers as the system around it', async () => {
    const system = new HandlerSystem();
    await system.initialize();
    system.register('billing', Billing);
    const registry = system.getRegistry();
    assert.equal(system.initialized, true);
    assert.ok((await registry.resolve('Billing')) instanceof Billing);
    assert.ok((await system.resolve('billing')) instanceof Billing);
    assert.equal(system.getResolverChain(), registry.getResolverChain());
    assert.deepEqual(system.debugInfo(), registry.debugInfo());
    assert.deepEqual(await system.listResolvers(), await registry.listResolvers());
    assert.deepEqual(
      [system.handlerCount(), system.listHandlers(), system.isRegistered('billing')],
      [1, ['billing'], true],
    );
    system.addResolver(new ExplicitMappingResolver('mine'));
    assert.equal(registry.getResolver('mine'), system.getResolver('mine'));
    assert.equal(system.unregister('billing'), true);
    registry.register('again', Billing);
    system.clear();
    assert.equal(registry.handlerCount(), 0);
  });
});

describe('a resolver chain', () => {
  it('gives a definition to the resolver that it names alone', async () => {
    const one = new ExplicitMappingResolver('one');
    const two = new ExplicitMappingResolver('two');
    two.register('billing', Billing);
    const chain = ResolverChain.withResolvers([one, two]);
    assert.equal(await chain.resolve({ callable: 'billing', resolver: 'one' }), null);
    assert.ok((await chain.resolve({ callable: 'billing', resolver: 'two' })) instanceof Billing);
    await assert.rejects(chain.resolve({ callable: 'billing', resolver: 'ghost' }), ResolverNotFoundError);
  });

  it('calls the method that a definition names', async () => {
    const explicit = new ExplicitMappingResolver();
    explicit.register('billing', Billing);
    const chain = ResolverChain.withResolvers([explicit]);
    const handler = await chain.resolve({ callable: 'billing', method: 'refund' });
    assert.deepEqual(await resultOf(handler), { method: 'refund', note: 'kept' });
    await assert.rejects(chain.resolve({ callable: 'billing', method: 'nope' }), MethodDispatchError);
  });

  it('is one for the process by default', async () => {
    const chain = await ResolverChain.default();
    assert.equal(await ResolverChain.default(), chain);
    ResolverChain.resetDefault();
    assert.notEqual(await ResolverChain.default(), chain);
  });
});

describe('explicit mappings', () => {
  it('have classes, instances and factories', async () => {
    const resolver = new ExplicitMappingResolver();
    const instance = new Billing();
    resolver.register('class', Billing);
    resolver.register('instance', instance);
    resolver.register('factory', () => new Arrow());
    assert.equal(await resolver.resolve({ callable: 'instance' }), instance);
    assert.ok((await resolver.resolve({ callable: 'factory' })) instanceof Arrow);
    assert.deepEqual(resolver.registeredCallables(), ['class', 'instance', 'factory', 'Billing']);
  });

  it('resolve to nothing if a handler cannot be made', async () => {
    const resolver = new ExplicitMappingResolver();
    resolver.register('broken', () => {
      throw new Error('no');
    });
    assert.equal(await resolver.resolve({ callable: 'broken' }), null);
  });
});

describe('method dispatch', () => {
  it('keeps the handler', () => {
    const billing = new Billing();
    const wrapper = new MethodDispatchWrapper(billing, 'refund');
    assert.deepEqual([wrapper.unwrap(), wrapper.handler, wrapper.targetMethod], [billing, billing, 'refund']);
    assert.deepEqual([wrapper.name, wrapper.version, wrapper.capabilities], ['billing', '1.0.0', ['process']]);
    assert.throws(() => new MethodDispatchWrapper(billing, 'note'), MethodDispatchError);
    assert.throws(() => new MethodDispatchWrapper(billing, 'hasOwnProperty'), MethodDispatchError);
  });
});

describe('class lookup', () => {
  it('only takes paths', () => {
    const resolver = new ClassLookupResolver();
    const takes = ['./a.js', '../a.js', '@scope/a', 'a', 'a.b', '/a.js', '@scope'].map((callable) =>
      resolver.canResolve({ callable }),
    );
    assert.deepEqual(takes, [true, true, true, false, false, false, false]);
  });

  it('resolves to nothing if there is no such module', async () => {
    assert.equal(await new ClassLookupResolver().resolve({ callable: './no-such-module.js' }), null);
    assert.equal(await new ClassLookupResolver().resolve({ callable: '@no-such-scope/module' }), null);
  });
});
