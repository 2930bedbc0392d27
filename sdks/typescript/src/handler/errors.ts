import { ErrorType } from '../types/error-type.js';
import { StepHandlerResult } from '../types/step-handler-result.js';
import { isObject } from '../types/values.js';
import type { JsonObject } from '../wire.js';

/** Longest stack trace that is kept with a failure, in characters. */
const TRACE_LIMIT = 10_000;

/** Thrown by a handler to fail its step for good. */
export class PermanentError extends Error {
  override readonly name: string = 'PermanentError';
  readonly retryable = false;
  readonly metadata: JsonObject;
  /** A code of the application's own, null if none was given. */
  readonly errorCode: string | null;

  /** @param metadata - kept with the failure; a text is taken as the error code. */
  constructor(message: string, metadata: JsonObject | string = {}) {
    super(message);
    this.metadata = typeof metadata === 'string' ? { error_code: metadata } : metadata;
    this.errorCode = typeof metadata === 'string' ? metadata : null;
  }
}

/** Thrown by a handler to fail this attempt; the step's retry policy decides about the next one. */
export class RetryableError extends Error {
  override readonly name: string = 'RetryableError';
  readonly retryable = true;
  readonly metadata: JsonObject;
  /** A code of the application's own, null if none was given. */
  readonly errorCode: string | null;

  /** @param metadata - kept with the failure; a text is taken as the error code. */
  constructor(message: string, metadata: JsonObject | string = {}) {
    super(message);
    this.metadata = typeof metadata === 'string' ? { error_code: metadata } : metadata;
    this.errorCode = typeof metadata === 'string' ? metadata : null;
  }
}

/**
 * The failure that a thrown value means: `permanent_error` for a {@link PermanentError}, `retryable_error` for a
 * {@link RetryableError}, `timeout` for what `AbortSignal.timeout` throws, `handler_error` for all others. The class is
 * kept as `exception_class` in the metadata, and the stack of an error that was not thrown to report a failure.
 */
export function failureFromError(error: unknown): StepHandlerResult {
  const { errorType, retryable, deliberate } = classify(error);
  const className = classNameOf(error);
  const unexpected = deliberate ? {} : { errorType: className, ...trace(error) };
  const own = isObject(error) && isObject(error['metadata']) ? error['metadata'] : {};
  const code = isObject(error) && typeof error['errorCode'] === 'string' ? error['errorCode'] : null;
  const metadata = { exception_class: className, ...unexpected, ...own };
  return StepHandlerResult.failure(messageOf(error), errorType, retryable, metadata, code);
}

function classify(error: unknown): { errorType: ErrorType; retryable: boolean; deliberate: boolean } {
  // By name as well: handlers may import another copy of this package than the worker.
  const name = isObject(error) ? error['name'] : null;
  if (error instanceof PermanentError || name === 'PermanentError') {
    return { errorType: ErrorType.PERMANENT_ERROR, retryable: false, deliberate: true };
  }
  if (error instanceof RetryableError || name === 'RetryableError') {
    return { errorType: ErrorType.RETRYABLE_ERROR, retryable: true, deliberate: true };
  }
  if (name === 'TimeoutError') return { errorType: ErrorType.TIMEOUT, retryable: true, deliberate: false };
  const own = isObject(error) ? error['retryable'] : null;
  if (typeof own === 'boolean') return { errorType: ErrorType.HANDLER_ERROR, retryable: own, deliberate: true };
  return { errorType: ErrorType.HANDLER_ERROR, retryable: true, deliberate: false };
}

function classNameOf(error: unknown): string {
  if (typeof error !== 'object' || error === null) return typeof error;
  return error.constructor?.name || 'Object';
}

function messageOf(error: unknown): string {
  const message = isObject(error) && typeof error['message'] === 'string' ? error['message'] : textOf(error);
  return message || classNameOf(error);
}

function textOf(value: unknown): string {
  try {
    return String(value);
  } catch {
    // An object without a prototype has no text.
    return '';
  }
}

function trace(error: unknown): JsonObject {
  return error instanceof Error && error.stack ? { traceback: error.stack.slice(0, TRACE_LIMIT) } : {};
}
