import type { ExecutableHandler, StepHandlerClass } from '../handler/step-handler.js';
import { DeclaredHandlerResolver } from './declared-handlers.js';
import { ExplicitMappingResolver } from './explicit-mapping-resolver.js';
import type { HandlerSpec } from './handler-definition.js';
import { normalizeToDefinition } from './handler-definition.js';
import type { BaseResolver, HandlerFactory } from './resolver.js';
import { ResolverChain } from './resolver-chain.js';

/** The handlers of a worker. */
export class HandlerRegistry {
  private readonly explicit = new ExplicitMappingResolver();
  private readonly chain = ResolverChain.builtIn(this.explicit);
  private ready = false;

  /** Marks the registry as ready; it works without, too. */
  initialize(): Promise<void> {
    this.ready = true;
    return Promise.resolve();
  }

  /** Whether `initialize` was called. */
  get initialized(): boolean {
    return this.ready;
  }

  /**
   * Registers a handler class, replacing one of the same name. Templates may use the name of the class as well.
   *
   * @throws Error if the name is empty or no text, or the class is no function.
   */
  register(name: string, handlerClass: StepHandlerClass | HandlerFactory): void {
    if (typeof name !== 'string' || name.trim() === '') throw new Error('the name of a handler must be a text');
    if (typeof handlerClass !== 'function') throw new Error(`the handler '${name}' must be a class`);
    this.explicit.register(name, handlerClass);
  }

  /** Removes a registration; whether there was one. */
  unregister(name: string): boolean {
    return this.explicit.unregister(name);
  }

  /**
   * The handler that a callable or a definition means, null if there is none.
   *
   * @throws ResolutionError if the definition names an unknown resolver or method.
   */
  async resolve(spec: HandlerSpec): Promise<ExecutableHandler | null> {
    const definition = normalizeToDefinition(spec);
    return definition.callable === '' ? null : this.chain.resolve(definition);
  }

  /** The handler of a registered name, null if there is none; asks no resolvers that need time. */
  resolveSync(name: string): ExecutableHandler | null {
    const definition = normalizeToDefinition(name);
    return this.explicit.resolveSync(definition) ?? new DeclaredHandlerResolver().resolveSync(definition);
  }

  /** Whether a handler was registered under this name, or is a registered class of this name. */
  isRegistered(name: string): boolean {
    return this.explicit.canResolve(normalizeToDefinition(name));
  }

  /** The names given to `register`. */
  listHandlers(): string[] {
    return this.explicit.keys();
  }

  /** All callables known in advance: registered names, class names, and handlers from factories. */
  listCallables(): string[] {
    return this.chain.registeredCallables();
  }

  /** The number of names given to `register`. */
  handlerCount(): number {
    return this.explicit.keys().length;
  }

  /** Removes all registrations. */
  clear(): void {
    this.explicit.clear();
  }

  /** Adds a resolver, which is asked in the order of its priority. */
  addResolver(resolver: BaseResolver): void {
    this.chain.addResolver(resolver);
  }

  /** The resolver of that name, if there is one. */
  getResolver(name: string): BaseResolver | undefined {
    return this.chain.getResolver(name);
  }

  /** Names and priorities, in the order in which resolvers are asked. */
  listResolvers(): Promise<[string, number][]> {
    return Promise.resolve(this.chain.listResolvers());
  }

  /** The resolvers that are asked. */
  getResolverChain(): ResolverChain {
    return this.chain;
  }

  /** What the registry holds. */
  debugInfo(): { initialized: boolean; handlerCount: number; handlers: string[] } {
    return { initialized: this.ready, handlerCount: this.handlerCount(), handlers: this.listHandlers() };
  }

  /** @deprecated Always undefined: use `resolve`. */
  getHandlerClass(_name: string): StepHandlerClass | undefined {
    return undefined;
  }
}
