import { failureFromError } from '../handler/errors.js';
import type { StepHandlerClass } from '../handler/step-handler.js';
import { resultFromReturnValue, StepHandler } from '../handler/step-handler.js';
import { declareHandler } from '../registry/declared-handlers.js';
import type { StepContext } from '../types/step-context.js';
import { isStepHandlerResult, StepHandlerResult } from '../types/step-handler-result.js';

/**
 * What a handler function is called with: one value for each of `depends` and `inputs`, and the context. The values are
 * the application's own: what a function says of their types is believed.
 */
// biome-ignore lint/suspicious/noExplicitAny: with unknown, no function could say what it takes
export type HandlerArgs<Parameter extends string = string> = { [P in Parameter]: any } & { context: StepContext };

/** A handler as a function. */
export type HandlerFn<Args = HandlerArgs, Value = unknown> = (args: Args) => Value | Promise<Value>;

/** How a handler function's arguments are filled. */
export interface HandlerOptions<Depends extends string = string, Inputs extends string = string> {
  /** Step names by argument; the value is that step's result, null if there is none. */
  depends?: Record<Depends, string>;
  /** Keys of the task's context by argument. */
  inputs?: Record<Inputs, string>;
  /** `1.0.0` by default. */
  version?: string;
}

/** A handler class that calls a function. */
export interface FunctionHandlerParts<Args> {
  name: string;
  options: HandlerOptions;
  fn: HandlerFn<Args>;
  /** Arguments beside those of the options. */
  extraArgs?: (handler: StepHandler, context: StepContext) => object;
  /** Makes a result of what the function returned; objects are successes by default. */
  toResult?: (value: unknown, handler: StepHandler) => StepHandlerResult;
  /** Prepares a new instance. */
  prepare?: (handler: StepHandler) => void;
}

/** Makes a handler class of a function, and makes it known to the default resolvers. */
export function functionHandler<Args>(parts: FunctionHandlerParts<Args>): StepHandlerClass {
  const { name, options, fn, extraArgs, toResult = successOf, prepare } = parts;
  if (typeof fn !== 'function') throw new TypeError(`the handler '${name}' needs a function`);

  class FunctionHandler extends StepHandler {
    static override handlerName = name;
    static override handlerVersion = options.version ?? '1.0.0';

    constructor() {
      super();
      prepare?.(this);
    }

    async call(context: StepContext): Promise<StepHandlerResult> {
      try {
        const args = { ...argumentsOf(options, context), ...extraArgs?.(this, context) };
        const value = await fn(args as Args);
        return isStepHandlerResult(value) ? value : toResult(value, this);
      } catch (error) {
        return failureFromError(error);
      }
    }
  }

  Object.defineProperty(FunctionHandler, 'name', { value: name });
  declareHandler(FunctionHandler);
  return FunctionHandler;
}

/** The success that a returned value means. */
export function successOf(value: unknown): StepHandlerResult {
  return StepHandlerResult.success(resultFromReturnValue(value));
}

function argumentsOf({ depends = {}, inputs = {} }: HandlerOptions, context: StepContext): HandlerArgs {
  const results = Object.entries(depends).map(([parameter, step]) => [parameter, context.getDependencyResult(step)]);
  const values = Object.entries(inputs).map(([parameter, key]) => [parameter, context.getInput(key)]);
  return { ...Object.fromEntries([...results, ...values]), context };
}
