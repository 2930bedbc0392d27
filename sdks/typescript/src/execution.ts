/** One attempt: from a leased step to the result to report. */

import { hostname } from 'node:os';
import { publishDeclaredEvents } from './domain-events/declared-events.js';
import { failureFromError } from './handler/errors.js';
import type { ExecutableHandler } from './handler/step-handler.js';
import { resultFromReturnValue } from './handler/step-handler.js';
import { ResolutionError } from './registry/errors.js';
import type { HandlerDefinition } from './registry/handler-definition.js';
import { definitionOfLease } from './registry/handler-definition.js';
import { ErrorType } from './types/error-type.js';
import { type FetchedResult, ResultUnavailableError } from './types/fetched-result.js';
import { StepContext } from './types/step-context.js';
import { stepEventFromLease } from './types/step-event.js';
import { isStepHandlerResult, orchestrationMetadataToWire, StepHandlerResult } from './types/step-handler-result.js';
import type { JsonObject, LeaseItem, WireResult } from './wire.js';

/** Longest text of an error that is kept, in characters. */
const MESSAGE_LIMIT = 10_000;

/** The same for a value that has no JSON form. */
const SERIALIZATION_MESSAGE_LIMIT = 500;

const HOSTNAME = hostname();

/** Error type of a result that has no JSON form. */
const SERIALIZATION_ERROR = 'SERIALIZATION_ERROR';

/** Error type of an attempt whose handler needs a result that the server refuses. */
const RESULT_UNAVAILABLE = 'result_unavailable';

/** What {@link executeLease} needs. */
export interface ExecutionOptions {
  /** Finds the handler; null, or an error of the registry, if there is none. */
  resolve: (definition: HandlerDefinition) => Promise<ExecutableHandler | null>;
  /**
   * Gets the results that a lease leaves out. Rejects with a {@link ResultUnavailableError} if they are refused; with
   * anything else only once the attempt is cancelled.
   */
  fetchResults?: ((lease: LeaseItem) => Promise<readonly FetchedResult[]>) | undefined;
  /** Becomes the context's `signal`. */
  signal: AbortSignal;
  workerId: string;
}

/** Names a lease. */
type LeaseName = Pick<LeaseItem, 'step_uuid' | 'lease_id'>;

/** Who ran an attempt and since when. */
interface Attempt {
  lease: LeaseName;
  workerId: string;
  startedAt: Date;
  /** A reading of `performance.now()`. */
  started: number;
  handlerVersion: string | null;
}

/** Runs the handler of a leased step and returns what to report. Never throws; does not watch the time limit. */
export async function executeLease(lease: LeaseItem, options: ExecutionOptions): Promise<WireResult> {
  const attempt = beginAttempt(lease, options.workerId);
  try {
    return toWire(attempt, await outcomeOf(lease, attempt, options));
  } catch (error) {
    return toWire(attempt, failureFromError(error));
  }
}

/** What to report for a handler that ran into its time limit, given in milliseconds. */
export function handlerTimeout(lease: LeaseName, limitMs: number, workerId: string): WireResult {
  const message = `the handler ran longer than its limit of ${limitMs} ms (timeout_seconds)`;
  return toWire(beginAttempt(lease, workerId), StepHandlerResult.failure(message, 'handler_timeout', true));
}

/** What to report for a handler that a stopping worker could not wait for; the step may start again at once. */
export function workerShutdown(lease: LeaseName, workerId: string): WireResult {
  const message = `the worker on ${HOSTNAME} stopped before the handler was done`;
  const failure = StepHandlerResult.failure(message, 'worker_shutdown', true, { retry_after_seconds: 0 });
  return toWire(beginAttempt(lease, workerId), failure);
}

/** What to report for a result that was made elsewhere, such as in a test. */
export function wireResultOf(lease: LeaseName, result: StepHandlerResult, workerId: string): WireResult {
  return toWire(beginAttempt(lease, workerId), result);
}

function beginAttempt(lease: LeaseName, workerId: string): Attempt {
  return { lease, workerId, startedAt: new Date(), started: performance.now(), handlerVersion: null };
}

async function outcomeOf(lease: LeaseItem, attempt: Attempt, options: ExecutionOptions): Promise<StepHandlerResult> {
  const definition = definitionOfLease(lease);
  if (!definition.callable) {
    return StepHandlerResult.failure('the step has no handler.callable', ErrorType.PERMANENT_ERROR, false);
  }
  const handler = await resolveHandler(definition, options);
  if (isStepHandlerResult(handler)) return handler;
  attempt.handlerVersion = handler.version ?? null;
  const fetched = await fetchOmitted(lease, options);
  if (isStepHandlerResult(fetched)) return fetched;
  const event = stepEventFromLease(lease, fetched);
  // The wait for the module of a handler, and for large results, is not the handler's time.
  attempt.startedAt = new Date();
  attempt.started = performance.now();
  const result = await callHandler(handler, StepContext.fromFfiEvent(event, handler.name, options.signal));
  const declarations = lease.task_sequence_step.step_definition.publishes_events ?? [];
  if (!options.signal.aborted && !isCheckpoint(result)) publishDeclaredEvents(declarations, event, result);
  return result;
}

async function callHandler(handler: ExecutableHandler, context: StepContext): Promise<StepHandlerResult> {
  try {
    const value: unknown = await handler.call(context);
    return isStepHandlerResult(value) ? value : StepHandlerResult.success(resultFromReturnValue(value));
  } catch (error) {
    return failureFromError(error);
  }
}

function isCheckpoint(result: StepHandlerResult): boolean {
  return result.success && result.metadata['checkpoint_yield'] === true;
}

async function resolveHandler(
  definition: HandlerDefinition,
  options: ExecutionOptions,
): Promise<ExecutableHandler | StepHandlerResult> {
  try {
    const handler = await options.resolve(definition);
    return handler ?? handlerNotFound(definition.callable);
  } catch (error) {
    if (!(error instanceof ResolutionError)) throw error;
    return handlerNotFound(definition.callable, error.message);
  }
}

async function fetchOmitted(
  lease: LeaseItem,
  { fetchResults }: ExecutionOptions,
): Promise<readonly FetchedResult[] | StepHandlerResult> {
  if (!lease.omitted_results?.length || fetchResults === undefined) return [];
  try {
    return await fetchResults(lease);
  } catch (error) {
    if (!(error instanceof ResultUnavailableError)) throw error;
    return StepHandlerResult.failure(error.message, RESULT_UNAVAILABLE, true);
  }
}

function handlerNotFound(callable: string, reason?: string): StepHandlerResult {
  const metadata = reason === undefined ? {} : { reason };
  return StepHandlerResult.failure(`Handler not found: ${callable}`, 'handler_not_found', false, metadata);
}

function toWire(attempt: Attempt, result: StepHandlerResult): WireResult {
  if (isCheckpoint(result)) return checkpointToWire(attempt, result);
  try {
    const body = result.success ? throughJson(result.result ?? {}) : {};
    return completion(attempt, result, body, storedMetadata(result));
  } catch (error) {
    return unserializable(attempt, error);
  }
}

function checkpointToWire(attempt: Attempt, result: StepHandlerResult): WireResult {
  const fields = result.result ?? {};
  const checkpoint = {
    cursor: fields['cursor'] ?? null,
    items_processed: Number(fields['items_processed'] ?? 0),
    accumulated_results: fields['accumulated_results'] ?? null,
  };
  try {
    return { ...leaseName(attempt.lease), checkpoint: throughJson(checkpoint) };
  } catch (error) {
    return unserializable(attempt, error);
  }
}

/** A snapshot of what will be stored; throws if there is no JSON form. */
function throughJson<T>(value: T): T {
  const text = JSON.stringify(value);
  return text === undefined ? ({} as T) : (JSON.parse(text) as T);
}

function storedMetadata(result: StepHandlerResult): JsonObject {
  try {
    return throughJson(result.metadata);
  } catch (error) {
    // A failure is reported as itself, even if what it says beside cannot be stored.
    if (result.success) throw error;
    return { metadata_dropped: reasonOf(error) };
  }
}

function unserializable(attempt: Attempt, error: unknown): WireResult {
  const reason = reasonOf(error);
  const failure = StepHandlerResult.failure(reason, SERIALIZATION_ERROR, false);
  return completion(attempt, failure, {}, { serialization_error: reason });
}

function reasonOf(error: unknown): string {
  return cut(failureFromError(error).errorMessage ?? '', SERIALIZATION_MESSAGE_LIMIT);
}

function completion(attempt: Attempt, result: StepHandlerResult, body: unknown, custom: JsonObject): WireResult {
  const errorType = result.success ? null : printable(result.errorType || ErrorType.HANDLER_ERROR);
  const retryable = !result.success && result.retryable;
  return {
    ...leaseName(attempt.lease),
    success: result.success,
    status: result.success ? 'completed' : errorType === SERIALIZATION_ERROR ? 'error' : 'failed',
    result: body,
    metadata: {
      execution_time_ms: Math.round(performance.now() - attempt.started),
      handler_version: attempt.handlerVersion,
      retryable,
      started_at: attempt.startedAt.toISOString(),
      completed_at: new Date().toISOString(),
      worker_id: attempt.workerId,
      worker_hostname: HOSTNAME,
      custom,
      error_code: result.errorCode ? printable(result.errorCode) : null,
      error_type: errorType,
      context: {},
    },
    error:
      errorType === null
        ? null
        : {
            message: printable(result.errorMessage || 'Unknown error'),
            error_type: errorType,
            retryable,
            backtrace: null,
          },
    orchestration_metadata: orchestrationMetadataToWire(result.orchestrationMetadata),
  };
}

function leaseName(lease: LeaseName): LeaseName {
  return { step_uuid: lease.step_uuid, lease_id: lease.lease_id };
}

/** Text that can be stored: shortened, NUL and lone surrogates written as escapes. */
function printable(text: string): string {
  return cut(String(text), MESSAGE_LIMIT)
    .replaceAll('\0', '\\x00')
    .replace(/[\ud800-\udfff]/gu, (unit) => `\\u${unit.charCodeAt(0).toString(16)}`);
}

/** The beginning of a text, without half a character at its end. */
function cut(text: string, limit: number): string {
  return text.length <= limit ? text : text.slice(0, limit).replace(/[\ud800-\udbff]$/u, '');
}
