import type { ExecutableHandler } from '../handler/step-handler.js';
import type { StepContext } from '../types/step-context.js';
import type { StepHandlerResult } from '../types/step-handler-result.js';
import type { JsonObject } from '../wire.js';
import { MethodDispatchError } from './errors.js';

/** A handler whose `call` is another of its methods. */
export class MethodDispatchWrapper implements ExecutableHandler {
  readonly handler: ExecutableHandler;
  readonly targetMethod: string;

  /** @throws MethodDispatchError if the handler has no such method. */
  constructor(handler: ExecutableHandler, targetMethod: string) {
    if (typeof methodOf(handler, targetMethod) !== 'function') {
      throw new MethodDispatchError(`handler '${handler.name}' has no method '${targetMethod}'`);
    }
    this.handler = handler;
    this.targetMethod = targetMethod;
  }

  get name(): string {
    return this.handler.name;
  }

  get version(): string {
    return this.handler.version;
  }

  get capabilities(): string[] {
    return this.handler.capabilities;
  }

  async call(context: StepContext): Promise<StepHandlerResult> {
    const method = methodOf(this.handler, this.targetMethod) as ExecutableHandler['call'];
    return method.call(this.handler, context);
  }

  configSchema(): JsonObject | null {
    return this.handler.configSchema();
  }

  /** The handler itself. */
  unwrap(): ExecutableHandler {
    return this.handler;
  }
}

function methodOf(handler: ExecutableHandler, name: string): unknown {
  // What every object has is no method of a handler.
  return name in Object.prototype ? undefined : (handler as unknown as Record<string, unknown>)[name];
}
