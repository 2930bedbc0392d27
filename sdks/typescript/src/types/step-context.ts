import type { JsonObject } from '../wire.js';
import type { FfiStepEvent, StepEventCheckpoint } from './step-event.js';
import { ownValue, unwrapResult } from './values.js';

/** What a {@link StepContext} is made of. */
export interface StepContextParams {
  event: FfiStepEvent;
  taskUuid: string;
  stepUuid: string;
  correlationId: string;
  handlerName: string;
  inputData: JsonObject;
  dependencyResults: Record<string, unknown>;
  stepConfig: JsonObject;
  stepInputs: JsonObject;
  retryCount: number;
  maxRetries: number;
  /** Never aborts by default. */
  signal?: AbortSignal;
}

/** What a handler gets to know: its task's input, the results of earlier steps, and its own settings. */
export class StepContext {
  /** The leased step as a whole. */
  readonly event: FfiStepEvent;
  readonly taskUuid: string;
  /** The same over all attempts of a step: use it as the idempotency key of calls to others. */
  readonly stepUuid: string;
  readonly correlationId: string;
  readonly handlerName: string;
  /** The task's context. */
  readonly inputData: JsonObject;
  /** The results of all steps before this one, by step name, as they came. */
  readonly dependencyResults: Record<string, unknown>;
  /** `handler.initialization` of the step in the template. */
  readonly stepConfig: JsonObject;
  /** What was given to this step alone, such as a batch's cursor. */
  readonly stepInputs: JsonObject;
  /** Attempts before this one. */
  readonly retryCount: number;
  /** Attempts in all, the first one included. */
  readonly maxRetries: number;
  /** Aborts when the result does not matter any more: the lease is lost, the step cancelled, or its time is up. */
  readonly signal: AbortSignal;

  constructor(params: StepContextParams) {
    this.event = params.event;
    this.taskUuid = params.taskUuid;
    this.stepUuid = params.stepUuid;
    this.correlationId = params.correlationId;
    this.handlerName = params.handlerName;
    this.inputData = params.inputData;
    this.dependencyResults = params.dependencyResults;
    this.stepConfig = params.stepConfig;
    this.stepInputs = params.stepInputs;
    this.retryCount = params.retryCount;
    this.maxRetries = params.maxRetries;
    this.signal = params.signal ?? new AbortController().signal;
  }

  /** The context of a leased step. */
  static fromFfiEvent(event: FfiStepEvent, handlerName: string, signal?: AbortSignal): StepContext {
    return new StepContext({
      event,
      taskUuid: event.taskUuid,
      stepUuid: event.stepUuid,
      correlationId: event.correlationId,
      handlerName,
      inputData: event.task.context ?? {},
      dependencyResults: event.dependencyResults ?? {},
      stepConfig: event.stepDefinition.handlerInitialization ?? {},
      stepInputs: event.workflowStep.inputs ?? {},
      retryCount: event.workflowStep.attempts ?? 0,
      maxRetries: event.workflowStep.maxAttempts ?? 3,
      ...(signal ? { signal } : {}),
    });
  }

  /** The same as `inputData`. */
  get taskContext(): JsonObject {
    return this.inputData;
  }

  /** Whether nobody waits for this step's result any more; see `signal`. */
  get isCancelled(): boolean {
    return this.signal.aborted;
  }

  /** An earlier step's result, null if there is none. */
  getDependencyResult(stepName: string): unknown {
    return unwrapResult(ownValue(this.dependencyResults, stepName));
  }

  /** A value deep inside an earlier step's result; null if any part of the path is missing. */
  getDependencyField(stepName: string, ...path: string[]): unknown {
    let value = this.getDependencyResult(stepName);
    for (const key of path) {
      value = ownElement(value, key);
    }
    return value ?? null;
  }

  /** A value of the task's context. */
  getInput<T = unknown>(key: string): T | undefined {
    return ownValue(this.inputData, key) as T | undefined;
  }

  /** A value of the task's context, or the default if it is absent or null. */
  getInputOr<T>(key: string, defaultValue: T): T {
    return this.getInput<T>(key) ?? defaultValue;
  }

  /** A value of `stepConfig`. */
  getConfig<T = unknown>(key: string): T | undefined {
    return ownValue(this.stepConfig, key) as T | undefined;
  }

  /** Whether an attempt was made before. */
  isRetry(): boolean {
    return this.retryCount > 0;
  }

  /** Whether no further attempt will be made. */
  isLastRetry(): boolean {
    return this.retryCount >= this.maxRetries - 1;
  }

  /** Progress that an earlier run of this step saved, null if there is none. */
  get checkpoint(): StepEventCheckpoint | null {
    return this.event?.workflowStep?.checkpoint ?? null;
  }

  /** Where to go on, null if there is no checkpoint. */
  get checkpointCursor(): unknown {
    return this.checkpoint?.cursor ?? null;
  }

  /** Items done up to the checkpoint, 0 if there is none. */
  get checkpointItemsProcessed(): number {
    return this.checkpoint?.items_processed ?? 0;
  }

  /** What was accumulated up to the checkpoint, null if there is nothing. */
  get accumulatedResults(): unknown {
    return this.checkpoint?.accumulated_results ?? null;
  }

  /** Whether there is a checkpoint with a cursor; 0 is one. */
  hasCheckpoint(): boolean {
    return this.checkpointCursor !== null;
  }

  /** The names of the steps that left a result. */
  getDependencyResultKeys(): string[] {
    return Object.keys(this.dependencyResults);
  }

  /** The results of all steps whose name starts with the prefix, such as those of batch workers. */
  getAllDependencyResults(prefix: string): unknown[] {
    return this.getDependencyResultKeys()
      .filter((name) => name.startsWith(prefix))
      .map((name) => this.getDependencyResult(name))
      .filter((result) => result !== null);
  }
}

function ownElement(value: unknown, key: string): unknown {
  if (Array.isArray(value)) return Object.hasOwn(value, key) ? (value as unknown[])[Number(key)] : undefined;
  return ownValue(value, key);
}
