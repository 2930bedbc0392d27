import type { ExecutableHandler } from '../handler/step-handler.js';
import type { HandlerDefinition } from './handler-definition.js';
import type { BaseResolver, ResolverConfig } from './resolver.js';

/** What a {@link RegistryResolver} class says of itself. */
export interface RegistryResolverStatic {
  /** `custom_resolver` by default. */
  _name?: string;
  /** 50 by default. */
  _priority?: number;
  /** The callables to resolve. */
  pattern?: RegExp | null;
  /** The beginning of the callables to resolve, if there is no pattern. */
  prefix?: string | null;
}

/** The base of resolvers of your own: set `pattern` or `prefix`, and write `resolveHandler`. */
export abstract class RegistryResolver implements BaseResolver {
  static _name = 'custom_resolver';
  static _priority = 50;
  static pattern: RegExp | null = null;
  static prefix: string | null = null;

  /**
   * The handler of a callable that fits, null if there is none.
   *
   * @param match - what the pattern found; null for a prefix.
   */
  abstract resolveHandler(
    definition: HandlerDefinition,
    match: RegExpMatchArray | null,
    config?: ResolverConfig,
  ): Promise<ExecutableHandler | null> | ExecutableHandler | null;

  get name(): string {
    return this.statics._name ?? 'custom_resolver';
  }

  get priority(): number {
    return this.statics._priority ?? 50;
  }

  canResolve(definition: HandlerDefinition): boolean {
    return this.match(definition.callable) !== undefined;
  }

  async resolve(definition: HandlerDefinition, config?: ResolverConfig): Promise<ExecutableHandler | null> {
    const match = this.match(definition.callable);
    return match === undefined ? null : this.resolveHandler(definition, match, config);
  }

  registeredCallables(): string[] {
    return [];
  }

  private match(callable: string): RegExpMatchArray | null | undefined {
    const { pattern, prefix } = this.statics;
    // A pattern with the flag g would give no groups.
    if (pattern) return callable.match(new RegExp(pattern.source, pattern.flags.replace('g', ''))) ?? undefined;
    return prefix && callable.startsWith(prefix) ? null : undefined;
  }

  private get statics(): RegistryResolverStatic {
    return this.constructor as RegistryResolverStatic;
  }
}
