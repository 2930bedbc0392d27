import { createRequire } from 'node:module';
import { join, resolve as resolvePath } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { ExecutableHandler, StepHandlerClass } from '../handler/step-handler.js';
import { logWarn } from '../logging/index.js';
import type { HandlerDefinition } from './handler-definition.js';
import type { BaseResolver } from './resolver.js';
import { isHandlerClass } from './resolver.js';

/** Handlers by where their module is: `./file.js`, `../file.js` or `@scope/package`, seen from the working directory. */
export class ClassLookupResolver implements BaseResolver {
  readonly name = 'class_lookup';
  readonly priority = 100;

  canResolve(definition: HandlerDefinition): boolean {
    return /^(\.{1,2}\/|@[^/]+\/)/.test(definition.callable);
  }

  /** The handler of the module's default export, else of its first export that is a handler class; null if that fails. */
  async resolve(definition: HandlerDefinition): Promise<ExecutableHandler | null> {
    if (!this.canResolve(definition)) return null;
    try {
      const exported = (await import(specifierOf(definition.callable))) as Record<string, unknown>;
      const handlerClass = [exported['default'], ...Object.values(exported)].find(isUsable);
      return handlerClass ? new handlerClass() : null;
    } catch (error) {
      logWarn('handler_import_failed', { callable: definition.callable, error: String(error) });
      return null;
    }
  }
}

/** Whether an export is a class of handlers, and not any other class. */
function isUsable(exported: unknown): exported is StepHandlerClass {
  if (!isHandlerClass(exported)) return false;
  return typeof exported.handlerName === 'string' || typeof exported.prototype.call === 'function';
}

function specifierOf(callable: string): string {
  if (callable.startsWith('.')) return pathToFileURL(resolvePath(callable)).href;
  try {
    return pathToFileURL(createRequire(join(process.cwd(), 'package.json')).resolve(callable)).href;
  } catch {
    // A package that can only be imported: look for it from here.
    return callable;
  }
}
