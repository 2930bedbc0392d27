import type {
  JsonObject,
  LeaseItem,
  Nullable,
  WireDependencyResult,
  WireNamedTask,
  WireStepDefinition,
  WireWorkflowStep,
} from '../wire.js';
import type { FetchedResult } from './fetched-result.js';
import { setLazily } from './values.js';

/** The task of a step event. */
export interface StepEventTask {
  taskUuid: string;
  namedTaskUuid: string;
  name: string;
  namespace: string;
  version: string;
  /** The task's input. */
  context?: Nullable<JsonObject>;
  correlationId: string;
  parentCorrelationId?: Nullable<string>;
  complete: boolean;
  priority: number;
  initiator?: Nullable<string>;
  sourceSystem?: Nullable<string>;
  reason?: Nullable<string>;
  tags?: unknown;
  identityHash: string;
  createdAt: string;
  updatedAt: string;
  requestedAt: string;
}

/** Progress that an earlier run saved; its keys stay as they are on the wire. */
export interface StepEventCheckpoint {
  cursor?: unknown;
  items_processed?: Nullable<number>;
  accumulated_results?: unknown;
  timestamp?: Nullable<string>;
  history?: unknown;
}

/** The step of a step event. */
export interface StepEventWorkflowStep {
  workflowStepUuid: string;
  taskUuid: string;
  namedStepUuid: string;
  name: string;
  templateStepName: string;
  retryable: boolean;
  maxAttempts?: Nullable<number>;
  attempts?: Nullable<number>;
  inProcess: boolean;
  processed: boolean;
  inputs?: Nullable<JsonObject>;
  results?: unknown;
  backoffRequestSeconds?: Nullable<number>;
  processedAt?: Nullable<string>;
  lastAttemptedAt?: Nullable<string>;
  createdAt: string;
  updatedAt: string;
  checkpoint?: Nullable<StepEventCheckpoint>;
}

/** The step's definition in the template. */
export interface StepEventDefinition {
  name: string;
  description?: Nullable<string>;
  handlerCallable: string;
  handlerMethod?: Nullable<string>;
  handlerResolver?: Nullable<string>;
  handlerInitialization: JsonObject;
  systemDependency?: Nullable<string>;
  dependencies: string[];
  timeoutSeconds?: Nullable<number>;
  retryRetryable: boolean;
  retryMaxAttempts: number;
  retryBackoff: string;
  retryBackoffBaseMs?: Nullable<number>;
  retryMaxBackoffMs?: Nullable<number>;
}

/** The result of an earlier step. */
export interface StepEventDependencyResult {
  stepUuid: string;
  success: boolean;
  result: unknown;
  status: string;
  errorMessage?: Nullable<string>;
  errorType?: Nullable<string>;
  errorRetryable?: Nullable<boolean>;
}

/** A leased step in camelCase; what is inside of contexts, inputs and results keeps its keys. */
export interface FfiStepEvent {
  eventId: string;
  taskUuid: string;
  stepUuid: string;
  correlationId: string;
  traceId?: Nullable<string>;
  spanId?: Nullable<string>;
  taskCorrelationId: string;
  parentCorrelationId?: Nullable<string>;
  task: StepEventTask;
  workflowStep: StepEventWorkflowStep;
  stepDefinition: StepEventDefinition;
  dependencyResults: Record<string, StepEventDependencyResult>;
}

/**
 * The event of a lease.
 *
 * @param fetched the results that the lease leaves out; each is parsed when it is read.
 */
export function stepEventFromLease(lease: LeaseItem, fetched: readonly FetchedResult[] = []): FfiStepEvent {
  const step = lease.task_sequence_step;
  const task = flattenTask(step.task);
  const correlationId = lease.correlation_id ?? task.correlationId;
  return {
    eventId: lease.event_id ?? '',
    taskUuid: lease.task_uuid ?? task.taskUuid,
    stepUuid: lease.step_uuid,
    correlationId,
    traceId: lease.trace_id,
    spanId: lease.span_id,
    taskCorrelationId: lease.task_correlation_id ?? correlationId,
    parentCorrelationId: lease.parent_correlation_id,
    task,
    workflowStep: flattenWorkflowStep(step.workflow_step),
    stepDefinition: flattenDefinition(step.step_definition),
    dependencyResults: flattenDependencyResults(step.dependency_results, fetched),
  };
}

function flattenTask(named: WireNamedTask): StepEventTask {
  const task = named.task ?? named;
  return {
    taskUuid: task.task_uuid ?? '',
    namedTaskUuid: task.named_task_uuid ?? '',
    name: named.task_name ?? '',
    namespace: named.namespace_name ?? 'default',
    version: named.task_version ?? '1.0.0',
    context: task.context,
    correlationId: task.correlation_id ?? '',
    parentCorrelationId: task.parent_correlation_id,
    complete: task.complete ?? false,
    priority: task.priority ?? 0,
    initiator: task.initiator,
    sourceSystem: task.source_system,
    reason: task.reason,
    tags: task.tags,
    identityHash: task.identity_hash ?? '',
    createdAt: task.created_at ?? '',
    updatedAt: task.updated_at ?? '',
    requestedAt: task.requested_at ?? '',
  };
}

function flattenWorkflowStep(step: WireWorkflowStep): StepEventWorkflowStep {
  const name = step.name ?? '';
  return {
    workflowStepUuid: step.workflow_step_uuid ?? '',
    taskUuid: step.task_uuid ?? '',
    namedStepUuid: step.named_step_uuid ?? '',
    name,
    templateStepName: step.template_step_name ?? name,
    retryable: step.retryable ?? true,
    maxAttempts: step.max_attempts,
    attempts: step.attempts,
    inProcess: step.in_process ?? true,
    processed: step.processed ?? false,
    inputs: step.inputs,
    results: step.results,
    backoffRequestSeconds: step.backoff_request_seconds,
    processedAt: step.processed_at,
    lastAttemptedAt: step.last_attempted_at,
    createdAt: step.created_at ?? '',
    updatedAt: step.updated_at ?? '',
    checkpoint: step.checkpoint,
  };
}

function flattenDefinition(definition: WireStepDefinition): StepEventDefinition {
  const handler = definition.handler ?? {};
  const retry = definition.retry ?? {};
  return {
    name: definition.name ?? '',
    description: definition.description,
    handlerCallable: handler.callable ?? '',
    handlerMethod: handler.method,
    handlerResolver: handler.resolver,
    handlerInitialization: handler.initialization ?? {},
    systemDependency: definition.system_dependency,
    dependencies: definition.dependencies ?? [],
    timeoutSeconds: definition.timeout_seconds,
    retryRetryable: retry.retryable ?? true,
    retryMaxAttempts: retry.max_attempts ?? 3,
    retryBackoff: retry.backoff ?? 'exponential',
    retryBackoffBaseMs: retry.backoff_base_ms,
    retryMaxBackoffMs: retry.max_backoff_ms,
  };
}

function flattenDependencyResults(
  sent: Nullable<Record<string, Nullable<WireDependencyResult>>>,
  fetched: readonly FetchedResult[],
): Record<string, StepEventDependencyResult> {
  const late = new Set(fetched.map(({ name }) => name));
  // Those that are read later have their place among the others.
  const there = Object.entries(sent ?? {}).filter(([name, entry]) => entry || late.has(name));
  const results = Object.fromEntries(there.map(([name, entry]) => [name, flattenResult(entry ?? {})]));
  for (const result of fetched) setLazily(results, result.name, () => flattenResult(result.read()));
  return results;
}

function flattenResult(entry: WireDependencyResult): StepEventDependencyResult {
  return {
    stepUuid: entry.step_uuid ?? '',
    success: entry.success ?? true,
    result: entry.result ?? null,
    status: entry.status ?? 'completed',
    errorMessage: entry.error?.message,
    errorType: entry.error?.error_type,
    errorRetryable: entry.error?.retryable,
  };
}
