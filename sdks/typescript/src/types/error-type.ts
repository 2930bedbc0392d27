/** The error types that Tasker knows; any other text is allowed as well. */
export enum ErrorType {
  /** Trying again cannot help. */
  PERMANENT_ERROR = 'permanent_error',
  /** The same may work later. */
  RETRYABLE_ERROR = 'retryable_error',
  /** The input is wrong. */
  VALIDATION_ERROR = 'validation_error',
  /** Something took too long. */
  TIMEOUT = 'timeout',
  /** The handler failed without saying more. */
  HANDLER_ERROR = 'handler_error',
}

const STANDARD: ReadonlySet<string> = new Set(Object.values(ErrorType));
const RETRYABLE: ReadonlySet<string> = new Set([ErrorType.RETRYABLE_ERROR, ErrorType.TIMEOUT]);

/** Whether a text is one of the five error types. */
export function isStandardErrorType(errorType: string): errorType is ErrorType {
  return STANDARD.has(errorType);
}

/** Whether failures of this type usually go away: `retryable_error` and `timeout`. */
export function isTypicallyRetryable(errorType: string): boolean {
  return RETRYABLE.has(errorType);
}
