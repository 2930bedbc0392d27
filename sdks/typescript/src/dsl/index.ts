/** Handlers from functions: classes that fill a function's arguments and turn what it returns or throws into a result. */

import type { APICapable } from '../handler/api.js';
import { applyAPI } from '../handler/api.js';
import { analyzerResult } from '../handler/batch-results.js';
import { BatchableMixin, DEFAULT_WORKER_TEMPLATE } from '../handler/batchable.js';
import { DecisionMixin } from '../handler/decision.js';
import type { StepHandler, StepHandlerClass } from '../handler/step-handler.js';
import type { BatchWorkerContext } from '../types/batch.js';
import type { StepContext } from '../types/step-context.js';
import { StepHandlerResult } from '../types/step-handler-result.js';
import { isObject } from '../types/values.js';
import type { JsonObject } from '../wire.js';
import type { HandlerArgs, HandlerFn, HandlerOptions } from './function-handler.js';
import { functionHandler, successOf } from './function-handler.js';

export type { HandlerArgs, HandlerFn, HandlerOptions } from './function-handler.js';

/** What the function of {@link defineBatchAnalyzer} returns: divide `totalItems` into batches. */
export interface BatchConfig {
  totalItems: number;
  batchSize: number;
  /** Kept beside the result. */
  metadata?: JsonObject;
}

/** The options of {@link defineBatchAnalyzer}. */
export interface BatchAnalyzerOptions<Depends extends string = string, Inputs extends string = string>
  extends HandlerOptions<Depends, Inputs> {
  /** The template's batch worker step; `batch_worker` by default, for which the engine takes the one it finds. */
  workerTemplate?: string;
}

/** What the function of {@link defineBatchWorker} is called with. */
export type BatchWorkerArgs<Parameter extends string = string> = HandlerArgs<Parameter> & {
  /** What to process, null if the step has no batch. */
  batchContext: BatchWorkerContext | null;
};

/** The options of {@link defineApiHandler}. */
export interface ApiHandlerOptions<Depends extends string = string, Inputs extends string = string>
  extends HandlerOptions<Depends, Inputs> {
  /** Put before every path. */
  baseUrl: string;
  /** Milliseconds until a request is given up, 30000 by default. */
  defaultTimeout?: number;
  defaultHeaders?: Record<string, string>;
}

/** What the function of {@link defineApiHandler} is called with. */
export type ApiHandlerArgs<Parameter extends string = string> = HandlerArgs<Parameter> & {
  /** The handler, with methods such as `get` and `apiSuccess`. */
  api: StepHandler & APICapable;
};

/** What the function of {@link defineDecisionHandler} returns. */
export class Decision {
  private constructor(
    /** The steps to go on with; null for none. */
    readonly steps: string[] | null,
    readonly reason: string,
    readonly routingContext: JsonObject,
  ) {}

  /** Go on with the named steps. */
  static route(steps: string[], routingContext: JsonObject = {}): Decision {
    return new Decision(steps, '', routingContext);
  }

  /** Go on with no step. */
  static skip(reason: string, routingContext: JsonObject = {}): Decision {
    return new Decision(null, reason, routingContext);
  }
}

/**
 * Makes a function the handler that templates call `name`. An object that it returns is the step's result, any other
 * value goes under the key `result`.
 */
export function defineHandler<Depends extends string = never, Inputs extends string = never>(
  name: string,
  options: HandlerOptions<Depends, Inputs>,
  fn: HandlerFn<HandlerArgs<Depends | Inputs>>,
): StepHandlerClass {
  return functionHandler({ name, options, fn });
}

/** Makes a function a decision step's handler; it returns a {@link Decision}. */
export function defineDecisionHandler<Depends extends string = never, Inputs extends string = never>(
  name: string,
  options: HandlerOptions<Depends, Inputs>,
  fn: HandlerFn<HandlerArgs<Depends | Inputs>>,
): StepHandlerClass {
  return functionHandler({ name, options, fn, toResult: decided });
}

/** Makes a function the handler that divides a batch; it returns a {@link BatchConfig}. */
export function defineBatchAnalyzer<Depends extends string = never, Inputs extends string = never>(
  name: string,
  options: BatchAnalyzerOptions<Depends, Inputs>,
  fn: HandlerFn<HandlerArgs<Depends | Inputs>>,
): StepHandlerClass {
  const workerTemplate = options.workerTemplate ?? DEFAULT_WORKER_TEMPLATE;
  return functionHandler({ name, options, fn, toResult: (value) => analyzed(value, workerTemplate) });
}

/** Makes a function the handler of one batch. */
export function defineBatchWorker<Depends extends string = never, Inputs extends string = never>(
  name: string,
  options: HandlerOptions<Depends, Inputs>,
  fn: HandlerFn<BatchWorkerArgs<Depends | Inputs>>,
): StepHandlerClass {
  const batchable = new BatchableMixin();
  const extraArgs = (_: StepHandler, context: StepContext) => ({
    batchContext: batchable.getBatchContext(context),
  });
  return functionHandler({ name, options, fn, extraArgs });
}

/** Makes a function a handler that calls an HTTP API. */
export function defineApiHandler<Depends extends string = never, Inputs extends string = never>(
  name: string,
  options: ApiHandlerOptions<Depends, Inputs>,
  fn: HandlerFn<ApiHandlerArgs<Depends | Inputs>>,
): StepHandlerClass {
  const { baseUrl, defaultTimeout = 30_000, defaultHeaders = {} } = options;
  const handlerClass = functionHandler({
    name,
    options,
    fn,
    prepare: applyAPI,
    extraArgs: (handler) => ({ api: handler }),
  });
  return Object.assign(handlerClass, { baseUrl, defaultTimeout, defaultHeaders });
}

function decided(value: unknown, handler: StepHandler): StepHandlerResult {
  if (!(value instanceof Decision)) return successOf(value);
  const decision = new DecisionMixin(handler);
  return value.steps === null
    ? decision.skipBranches(value.reason, value.routingContext)
    : decision.decisionSuccess(value.steps, value.routingContext);
}

function analyzed(value: unknown, workerTemplate: string): StepHandlerResult {
  if (!isBatchConfig(value)) return successOf(value);
  const { totalItems, batchSize, metadata = {} } = value;
  const outcome = new BatchableMixin().createBatchOutcome(totalItems, batchSize, 1, metadata);
  const counts = { batch_count: outcome.cursorConfigs.length, total_items: totalItems };
  return StepHandlerResult.success(analyzerResult(outcome, workerTemplate), { ...counts, ...metadata });
}

function isBatchConfig(value: unknown): value is BatchConfig {
  return isObject(value) && typeof value['totalItems'] === 'number' && typeof value['batchSize'] === 'number';
}
