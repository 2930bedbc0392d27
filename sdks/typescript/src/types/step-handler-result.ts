import type { JsonObject, WireOrchestrationMetadata } from '../wire.js';
import { ErrorType } from './error-type.js';
import { isObject } from './values.js';

/** When a server that a handler called wants to be called again. */
export interface BackoffHint {
  /** `ServerRequested`, `RateLimit`, `ServiceUnavailable` or `Custom`. */
  backoffType: string;
  delaySeconds: number;
  context?: string | null;
}

/** What a server that a handler called said about trying again. */
export interface OrchestrationMetadata {
  /** Response headers; `retry-after` counts. */
  headers?: Record<string, string>;
  errorContext?: string | null;
  backoffHint?: BackoffHint | null;
  custom?: JsonObject;
}

/** What a {@link StepHandlerResult} is made of. */
export interface StepHandlerResultParams {
  success: boolean;
  /** Null by default. */
  result?: JsonObject | null;
  errorMessage?: string | null;
  errorType?: string | null;
  errorCode?: string | null;
  /** True by default. */
  retryable?: boolean;
  /** Empty by default. */
  metadata?: JsonObject;
  orchestrationMetadata?: OrchestrationMetadata | null;
}

/** How a handler's run ended. */
export class StepHandlerResult {
  readonly success: boolean;
  /** What later steps get to see; null for a failure. */
  readonly result: JsonObject | null;
  readonly errorMessage: string | null;
  readonly errorType: string | null;
  /** A code of the application's own. */
  readonly errorCode: string | null;
  /** Whether a failure may be tried again. */
  readonly retryable: boolean;
  /** What the handler wants to keep beside the result. */
  readonly metadata: JsonObject;
  readonly orchestrationMetadata: OrchestrationMetadata | null;

  constructor(params: StepHandlerResultParams) {
    this.success = params.success;
    this.result = params.result ?? null;
    this.errorMessage = params.errorMessage ?? null;
    this.errorType = params.errorType ?? null;
    this.errorCode = params.errorCode ?? null;
    this.retryable = params.retryable ?? true;
    this.metadata = params.metadata ?? {};
    this.orchestrationMetadata = params.orchestrationMetadata ?? null;
  }

  /** A success with a JSON object as its result. */
  static success(result: JsonObject, metadata: JsonObject = {}): StepHandlerResult {
    return new StepHandlerResult({ success: true, result, metadata });
  }

  /** A failure: `handler_error` and retryable unless said otherwise. */
  static failure(
    message: string,
    errorType: ErrorType | string = ErrorType.HANDLER_ERROR,
    retryable = true,
    metadata: JsonObject = {},
    errorCode?: string | null,
  ): StepHandlerResult {
    return new StepHandlerResult({
      success: false,
      errorMessage: message,
      errorType,
      retryable,
      metadata,
      errorCode: errorCode ?? null,
    });
  }

  /** The same as `success`. */
  isSuccess(): boolean {
    return this.success;
  }

  /** The opposite of `success`. */
  isFailure(): boolean {
    return !this.success;
  }

  /** The same with snake_case keys. */
  toJSON(): JsonObject {
    return {
      success: this.success,
      result: this.result,
      error_message: this.errorMessage,
      error_type: this.errorType,
      error_code: this.errorCode,
      retryable: this.retryable,
      metadata: this.metadata,
      orchestration_metadata: orchestrationMetadataToWire(this.orchestrationMetadata),
    };
  }
}

/**
 * Whether a value is a {@link StepHandlerResult}, also one of another copy of this package: a globally installed worker
 * runs handlers that import the application's copy.
 */
export function isStepHandlerResult(value: unknown): value is StepHandlerResult {
  if (value instanceof StepHandlerResult) return true;
  return isObject(value) && value.constructor?.name === 'StepHandlerResult' && 'orchestrationMetadata' in value;
}

/** Orchestration metadata with the keys of the worker protocol. */
export function orchestrationMetadataToWire(metadata: OrchestrationMetadata | null): WireOrchestrationMetadata | null {
  if (metadata === null) return null;
  const hint = metadata.backoffHint;
  return {
    headers: metadata.headers ?? {},
    error_context: metadata.errorContext ?? null,
    backoff_hint: hint
      ? { backoff_type: hint.backoffType, delay_seconds: hint.delaySeconds, context: hint.context ?? null }
      : null,
    custom: metadata.custom ?? {},
  };
}
