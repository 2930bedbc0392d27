import type { ExecutableHandler, StepHandlerClass } from '../handler/step-handler.js';
import type { JsonObject } from '../wire.js';
import type { HandlerDefinition } from './handler-definition.js';

/** What a resolver or a factory gets beside the definition; the handler's configuration by default. */
export type ResolverConfig = JsonObject;

/** Makes a handler. */
export type HandlerFactory = (config: ResolverConfig) => ExecutableHandler;

/** What can be registered: a class (a new instance for every step), an instance, or a factory. */
export type HandlerEntry = StepHandlerClass | ExecutableHandler | HandlerFactory;

/** Finds handlers by a rule of its own. */
export interface BaseResolver {
  /** By which templates may ask for this resolver alone. */
  readonly name: string;
  /** Lower ones are asked first. */
  readonly priority: number;
  /** Whether `resolve` is worth a try. */
  canResolve(definition: HandlerDefinition, config?: ResolverConfig): boolean;
  /** The handler, null if there is none. */
  resolve(
    definition: HandlerDefinition,
    config?: ResolverConfig,
  ): Promise<ExecutableHandler | null> | ExecutableHandler | null;
  /** The callables that are known in advance; none by default. */
  registeredCallables?(): string[];
}

/** Whether a value is a handler class, as opposed to a factory. */
export function isHandlerClass(value: unknown): value is StepHandlerClass {
  if (typeof value !== 'function') return false;
  const prototype = value.prototype as { call?: unknown } | undefined;
  // A handler whose call is a field has none in its prototype.
  return typeof prototype?.call === 'function' || Function.prototype.toString.call(value).startsWith('class');
}

/** The handler of an entry; throws what its constructor or factory throws. */
export function handlerOfEntry(entry: HandlerEntry, config: ResolverConfig): ExecutableHandler {
  if (isHandlerClass(entry)) return new entry();
  return typeof entry === 'function' ? entry(config) : entry;
}
