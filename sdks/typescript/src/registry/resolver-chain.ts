import type { ExecutableHandler } from '../handler/step-handler.js';
import { ClassLookupResolver } from './class-lookup-resolver.js';
import { DeclaredHandlerResolver } from './declared-handlers.js';
import { ResolverNotFoundError } from './errors.js';
import { ExplicitMappingResolver } from './explicit-mapping-resolver.js';
import type { HandlerDefinition } from './handler-definition.js';
import { effectiveMethod, usesMethodDispatch } from './handler-definition.js';
import { MethodDispatchWrapper } from './method-dispatch-wrapper.js';
import type { BaseResolver, ResolverConfig } from './resolver.js';

let shared: Promise<ResolverChain> | null = null;

/** Resolvers in the order of their priority, lowest first. */
export class ResolverChain {
  private resolvers: BaseResolver[] = [];

  /** The process-wide chain of the built-in resolvers. */
  static default(): Promise<ResolverChain> {
    return (shared ??= Promise.resolve(ResolverChain.builtIn()));
  }

  /** Forgets the process-wide chain; the next `default()` makes a new one. */
  static resetDefault(): void {
    shared = null;
  }

  /** A chain of the given resolvers. */
  static withResolvers(resolvers: readonly BaseResolver[]): ResolverChain {
    const chain = new ResolverChain();
    for (const resolver of resolvers) chain.addResolver(resolver);
    return chain;
  }

  /** A new chain: registered names, then handlers from factories such as `defineHandler`, then modules. */
  static builtIn(explicit = new ExplicitMappingResolver()): ResolverChain {
    return ResolverChain.withResolvers([explicit, new DeclaredHandlerResolver(), new ClassLookupResolver()]);
  }

  /** Puts a resolver in its place; among equal priorities the one added first is asked first. */
  addResolver(resolver: BaseResolver): this {
    this.resolvers = [...this.resolvers, resolver].sort((one, other) => one.priority - other.priority);
    return this;
  }

  /** The resolver of that name, if there is one. */
  getResolver(name: string): BaseResolver | undefined {
    return this.resolvers.find((resolver) => nameOf(resolver) === name);
  }

  /** Names and priorities, in order. */
  listResolvers(): [string, number][] {
    return this.resolvers.map((resolver) => [nameOf(resolver), resolver.priority]);
  }

  /** The callables that the resolvers know in advance. */
  registeredCallables(): string[] {
    return [...new Set(this.resolvers.flatMap((resolver) => resolver.registeredCallables?.() ?? []))];
  }

  /**
   * The handler of a definition, null if there is none. A definition that names a resolver is given to that one alone.
   *
   * @throws ResolverNotFoundError if the definition names a resolver that is not in the chain.
   * @throws MethodDispatchError if the handler lacks the method that the definition names.
   */
  async resolve(definition: HandlerDefinition, config?: ResolverConfig): Promise<ExecutableHandler | null> {
    for (const resolver of this.candidates(definition)) {
      if (!resolver.canResolve(definition, config)) continue;
      const handler = await resolver.resolve(definition, config);
      if (handler !== null) return this.wrapForMethodDispatch(handler, definition);
    }
    return null;
  }

  /** The handler with `call` being the method that the definition names. */
  wrapForMethodDispatch(handler: ExecutableHandler, definition: HandlerDefinition): ExecutableHandler {
    if (!usesMethodDispatch(definition)) return handler;
    return new MethodDispatchWrapper(handler, effectiveMethod(definition));
  }

  private candidates(definition: HandlerDefinition): BaseResolver[] {
    if (!definition.resolver) return this.resolvers;
    const hinted = this.getResolver(definition.resolver);
    if (hinted !== undefined) return [hinted];
    const known = this.resolvers.map(nameOf).join(', ');
    throw new ResolverNotFoundError(`unknown resolver '${definition.resolver}'; there are ${known}`);
  }
}

function nameOf(resolver: BaseResolver): string {
  const named = resolver as { name?: string; resolverName?: () => string };
  return named.name ?? named.resolverName?.() ?? 'custom_resolver';
}
