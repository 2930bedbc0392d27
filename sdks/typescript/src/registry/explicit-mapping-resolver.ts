import type { ExecutableHandler } from '../handler/step-handler.js';
import { logWarn } from '../logging/index.js';
import type { HandlerDefinition } from './handler-definition.js';
import type { BaseResolver, HandlerEntry, ResolverConfig } from './resolver.js';
import { handlerOfEntry, isHandlerClass } from './resolver.js';

/** Handlers by the name they were registered under; classes by their own name as well. */
export class ExplicitMappingResolver implements BaseResolver {
  readonly name: string;
  readonly priority = 10;
  private readonly entries = new Map<string, HandlerEntry>();

  constructor(name = 'explicit_mapping') {
    this.name = name;
  }

  /** Adds an entry, replacing one with the same key. */
  register(key: string, entry: HandlerEntry): void {
    this.entries.set(key, entry);
  }

  /** Removes an entry; whether there was one. */
  unregister(key: string): boolean {
    return this.entries.delete(key);
  }

  /** Removes all entries. */
  clear(): void {
    this.entries.clear();
  }

  /** The keys of the entries, in the order of registration. */
  keys(): string[] {
    return [...this.entries.keys()];
  }

  /** The keys of the entries and the names of registered classes. */
  registeredCallables(): string[] {
    const classNames = [...this.entries.values()].filter(isHandlerClass).map((entry) => entry.name);
    return [...new Set([...this.entries.keys(), ...classNames.filter((name) => name !== '')])];
  }

  canResolve(definition: HandlerDefinition): boolean {
    return this.find(definition.callable) !== undefined;
  }

  /** The handler; null if there is no such entry, or if its constructor or factory throws, which is logged. */
  resolve(definition: HandlerDefinition, config?: ResolverConfig): Promise<ExecutableHandler | null> {
    return Promise.resolve(this.resolveSync(definition, config));
  }

  /** The same as `resolve`, at once. */
  resolveSync(definition: HandlerDefinition, config?: ResolverConfig): ExecutableHandler | null {
    const entry = this.find(definition.callable);
    if (entry === undefined) return null;
    try {
      return handlerOfEntry(entry, config ?? definition.initialization ?? {});
    } catch (error) {
      logWarn('handler_construction_failed', { callable: definition.callable, error: String(error) });
      return null;
    }
  }

  private find(callable: string): HandlerEntry | undefined {
    const entry = this.entries.get(callable);
    if (entry !== undefined || callable === '') return entry;
    return [...this.entries.values()].reverse().find((each) => isHandlerClass(each) && each.name === callable);
  }
}
