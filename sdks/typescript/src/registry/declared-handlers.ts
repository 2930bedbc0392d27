import type { ExecutableHandler, StepHandlerClass } from '../handler/step-handler.js';
import { processWide } from '../types/process-wide.js';
import type { HandlerDefinition } from './handler-definition.js';
import type { BaseResolver } from './resolver.js';

/** The handlers made by factories such as `defineHandler`, by name. */
function declared(): Map<string, StepHandlerClass> {
  return processWide('declared-handlers', () => new Map<string, StepHandlerClass>());
}

/** Makes a handler class known to the default resolvers; the last one of a name wins. */
export function declareHandler(handlerClass: StepHandlerClass): void {
  declared().set(handlerClass.handlerName, handlerClass);
}

/** Finds the handlers made by factories such as `defineHandler`, without registration. */
export class DeclaredHandlerResolver implements BaseResolver {
  readonly name = 'declared_handlers';
  readonly priority = 20;

  registeredCallables(): string[] {
    return [...declared().keys()];
  }

  canResolve(definition: HandlerDefinition): boolean {
    return declared().has(definition.callable);
  }

  resolve(definition: HandlerDefinition): Promise<ExecutableHandler | null> {
    return Promise.resolve(this.resolveSync(definition));
  }

  /** The same as `resolve`, at once. */
  resolveSync(definition: HandlerDefinition): ExecutableHandler | null {
    const handlerClass = declared().get(definition.callable);
    return handlerClass ? new handlerClass() : null;
  }
}
