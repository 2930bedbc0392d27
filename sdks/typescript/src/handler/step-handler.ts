import { ErrorType } from '../types/error-type.js';
import type { StepContext } from '../types/step-context.js';
import { StepHandlerResult } from '../types/step-handler-result.js';
import type { JsonObject } from '../wire.js';

/** Anything that can run a step: a {@link StepHandler}, or a wrapper of one. */
export interface ExecutableHandler {
  readonly name: string;
  readonly version: string;
  readonly capabilities: string[];
  call(context: StepContext): Promise<StepHandlerResult>;
  configSchema(): JsonObject | null;
}

/** A class of handlers. An instance is made without arguments for every step that is run. */
export interface StepHandlerClass {
  /** The name by which templates call the handler. */
  handlerName: string;
  /** `1.0.0` by default. */
  handlerVersion?: string;
  new (): StepHandler;
}

/** The base of all handler classes: set `handlerName` and write `call`. */
export abstract class StepHandler implements ExecutableHandler {
  /** The name by which templates call the handler; they may use the name of the class as well. */
  static handlerName: string;
  static handlerVersion = '1.0.0';

  /** Runs a step. What it throws is a failure, too. */
  abstract call(context: StepContext): Promise<StepHandlerResult>;

  /** `handlerName`, else the name of the class. */
  get name(): string {
    return this.statics.handlerName || this.constructor.name;
  }

  /** `handlerVersion`. */
  get version(): string {
    return this.statics.handlerVersion || '1.0.0';
  }

  /** What the handler is good for, for display. */
  get capabilities(): string[] {
    return ['process'];
  }

  /** A JSON Schema of the handler's configuration; null if it has none. */
  configSchema(): JsonObject | null {
    return null;
  }

  /** `Class(name=..., version=...)`. */
  toString(): string {
    return `${this.constructor.name}(name=${this.name}, version=${this.version})`;
  }

  /** A success: `result` is what later steps see, `metadata` is kept beside it. */
  protected success(result: JsonObject, metadata?: JsonObject): StepHandlerResult {
    return StepHandlerResult.success(result, metadata);
  }

  /** A failure: `handler_error` and retryable unless said otherwise. */
  protected failure(
    message: string,
    errorType: ErrorType | string = ErrorType.HANDLER_ERROR,
    retryable = true,
    metadata?: JsonObject,
    errorCode?: string,
  ): StepHandlerResult {
    return StepHandlerResult.failure(message, errorType, retryable, metadata, errorCode);
  }

  private get statics(): { handlerName?: string; handlerVersion?: string } {
    return this.constructor as { handlerName?: string; handlerVersion?: string };
  }
}

/** What a handler returned, as a result: an object is a success, nothing an empty one, other values go under `result`. */
export function resultFromReturnValue(value: unknown): JsonObject {
  if (value === null || value === undefined) return {};
  if (typeof value === 'object' && !Array.isArray(value)) return value as JsonObject;
  return { result: value };
}
