import type { ExecutableHandler, StepHandlerClass } from '../handler/step-handler.js';
import type { HandlerSpec } from './handler-definition.js';
import { HandlerRegistry } from './handler-registry.js';
import { loadHandlers } from './load-handlers.js';
import type { BaseResolver } from './resolver.js';
import type { ResolverChain } from './resolver-chain.js';

/** A registry together with the loading of handlers from files. */
export class HandlerSystem {
  private readonly registry: HandlerRegistry;

  constructor(registry = new HandlerRegistry()) {
    this.registry = registry;
  }

  /** Whether `initialize` was called. */
  get initialized(): boolean {
    return this.registry.initialized;
  }

  /** Marks the registry as ready; it works without, too. */
  initialize(): Promise<void> {
    return this.registry.initialize();
  }

  /**
   * Registers the handlers of a file, or of a directory: those of its index (`examples/index`, `index`,
   * `dsl_examples/index`), else those of all its modules. Returns their number.
   *
   * @throws Error if the path does not exist or a module cannot be imported.
   */
  async loadFromPath(path: string): Promise<number> {
    const found = await loadHandlers(path);
    for (const handlerClass of found) this.register(handlerClass.handlerName, handlerClass);
    return found.length;
  }

  /** The same for the path in `TYPESCRIPT_HANDLER_PATH`; 0 if it is not set. */
  async loadFromEnv(): Promise<number> {
    const path = process.env['TYPESCRIPT_HANDLER_PATH'];
    return path ? this.loadFromPath(path) : 0;
  }

  /** See {@link HandlerRegistry.register}. */
  register(name: string, handlerClass: StepHandlerClass): void {
    this.registry.register(name, handlerClass);
  }

  /** Removes a registration; whether there was one. */
  unregister(name: string): boolean {
    return this.registry.unregister(name);
  }

  /** See {@link HandlerRegistry.resolve}. */
  resolve(spec: HandlerSpec): Promise<ExecutableHandler | null> {
    return this.registry.resolve(spec);
  }

  /** Whether a handler was registered under this name, or is a registered class of this name. */
  isRegistered(name: string): boolean {
    return this.registry.isRegistered(name);
  }

  /** The names given to `register`. */
  listHandlers(): string[] {
    return this.registry.listHandlers();
  }

  /** All callables known in advance: registered names, class names, and handlers from factories. */
  listCallables(): string[] {
    return this.registry.listCallables();
  }

  /** The number of names given to `register`. */
  handlerCount(): number {
    return this.registry.handlerCount();
  }

  /** Removes all registrations. */
  clear(): void {
    this.registry.clear();
  }

  /** Adds a resolver, which is asked in the order of its priority. */
  addResolver(resolver: BaseResolver): void {
    this.registry.addResolver(resolver);
  }

  /** The resolver of that name, if there is one. */
  getResolver(name: string): BaseResolver | undefined {
    return this.registry.getResolver(name);
  }

  /** Names and priorities, in the order in which resolvers are asked. */
  listResolvers(): Promise<[string, number][]> {
    return this.registry.listResolvers();
  }

  /** The resolvers that are asked. */
  getResolverChain(): ResolverChain {
    return this.registry.getResolverChain();
  }

  /** The registry. */
  getRegistry(): HandlerRegistry {
    return this.registry;
  }

  /** What the registry holds. */
  debugInfo(): { initialized: boolean; handlerCount: number; handlers: string[] } {
    return this.registry.debugInfo();
  }
}
