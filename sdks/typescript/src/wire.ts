/**
 * The messages of the worker protocol that this package reads and writes, as they are on the wire: snake_case, null for
 * absent. docs/worker-protocol.md describes them. Keys that are not named here are ignored.
 */

/** A value that may be null or left out. */
export type Nullable<T> = T | null | undefined;

/** Any JSON object. */
export type JsonObject = Record<string, unknown>;

/** The facts of a task. */
export interface WireTask {
  task_uuid?: Nullable<string>;
  named_task_uuid?: Nullable<string>;
  complete?: Nullable<boolean>;
  requested_at?: Nullable<string>;
  initiator?: Nullable<string>;
  source_system?: Nullable<string>;
  reason?: Nullable<string>;
  tags?: unknown;
  /** The task's input. */
  context?: Nullable<JsonObject>;
  identity_hash?: Nullable<string>;
  priority?: Nullable<number>;
  created_at?: Nullable<string>;
  updated_at?: Nullable<string>;
  correlation_id?: Nullable<string>;
  parent_correlation_id?: Nullable<string>;
}

/** A task's names. */
export interface WireTaskNames {
  task_name?: Nullable<string>;
  task_version?: Nullable<string>;
  namespace_name?: Nullable<string>;
}

/** A task with its names; the facts are nested under `task` or stand beside the names. */
export type WireNamedTask = WireTaskNames & WireTask & { task?: Nullable<WireTask> };

/** Progress that an earlier run of a step saved. */
export interface WireCheckpoint {
  /** Where to go on, any JSON. */
  cursor?: unknown;
  items_processed?: Nullable<number>;
  accumulated_results?: unknown;
  timestamp?: Nullable<string>;
  history?: unknown;
}

/** The facts of a step. */
export interface WireWorkflowStep {
  workflow_step_uuid?: Nullable<string>;
  task_uuid?: Nullable<string>;
  named_step_uuid?: Nullable<string>;
  name?: Nullable<string>;
  template_step_name?: Nullable<string>;
  retryable?: Nullable<boolean>;
  max_attempts?: Nullable<number>;
  in_process?: Nullable<boolean>;
  processed?: Nullable<boolean>;
  processed_at?: Nullable<string>;
  /** Attempts before this one. */
  attempts?: Nullable<number>;
  last_attempted_at?: Nullable<string>;
  backoff_request_seconds?: Nullable<number>;
  /** What was given to this step alone, such as a batch's cursor. */
  inputs?: Nullable<JsonObject>;
  results?: unknown;
  checkpoint?: Nullable<WireCheckpoint>;
  created_at?: Nullable<string>;
  updated_at?: Nullable<string>;
}

/** What to call for a step. */
export interface WireHandler {
  callable?: Nullable<string>;
  method?: Nullable<string>;
  resolver?: Nullable<string>;
  initialization?: Nullable<JsonObject>;
}

/** When to try again. */
export interface WireRetry {
  retryable?: Nullable<boolean>;
  max_attempts?: Nullable<number>;
  backoff?: Nullable<string>;
  backoff_base_ms?: Nullable<number>;
  max_backoff_ms?: Nullable<number>;
}

/** The template's definition of a step. */
export interface WireStepDefinition {
  name?: Nullable<string>;
  description?: Nullable<string>;
  type?: Nullable<string>;
  system_dependency?: Nullable<string>;
  dependencies?: Nullable<string[]>;
  handler?: Nullable<WireHandler>;
  retry?: Nullable<WireRetry>;
  /** How long the handler may run; null is 300. */
  timeout_seconds?: Nullable<number>;
  publishes_events?: Nullable<WireEventDeclaration[]>;
}

/** An event that a step's definition declares. */
export interface WireEventDeclaration {
  name?: Nullable<string>;
  condition?: Nullable<string>;
  delivery_mode?: Nullable<string>;
  publisher?: Nullable<string>;
  schema?: Nullable<JsonObject>;
}

/** The result of a step before the leased one. */
export interface WireDependencyResult {
  step_uuid?: Nullable<string>;
  success?: Nullable<boolean>;
  result?: unknown;
  status?: Nullable<string>;
  error?: Nullable<{ message?: Nullable<string>; error_type?: Nullable<string>; retryable?: Nullable<boolean> }>;
  metadata?: Nullable<JsonObject>;
  orchestration_metadata?: Nullable<JsonObject>;
}

/** All that is known of a leased step. */
export interface WireTaskSequenceStep {
  task: WireNamedTask;
  workflow_step: WireWorkflowStep;
  dependency_results?: Nullable<Record<string, Nullable<WireDependencyResult>>>;
  step_definition: WireStepDefinition;
}

/** A leased step, an item of `leases`. */
export interface LeaseItem {
  event_id?: Nullable<string>;
  task_uuid?: Nullable<string>;
  /** With `lease_id` the name of the lease. */
  step_uuid: string;
  /** No two leases have the same. */
  lease_id: number;
  /** Number of the attempt, from 1. */
  attempt?: Nullable<number>;
  lease_seconds?: Nullable<number>;
  correlation_id?: Nullable<string>;
  task_correlation_id?: Nullable<string>;
  parent_correlation_id?: Nullable<string>;
  trace_id?: Nullable<string>;
  span_id?: Nullable<string>;
  task_sequence_step: WireTaskSequenceStep;
  /** How often the task was re-run. */
  reruns?: Nullable<number>;
  /** Steps whose results are null in `dependency_results`, since they are large. */
  omitted_results?: Nullable<string[]>;
}

/** Facts about an attempt. */
export interface WireResultMetadata {
  /** How long the handler ran, in milliseconds. */
  execution_time_ms: number;
  handler_version: string | null;
  /** Whether a failure may be tried again; false on success. */
  retryable: boolean;
  started_at: string;
  completed_at: string;
  worker_id: string;
  worker_hostname: string | null;
  /** What the handler said itself. */
  custom: JsonObject;
  error_code: string | null;
  error_type: string | null;
  context: JsonObject;
}

/** Why an attempt failed. */
export interface WireError {
  message: string;
  error_type: string;
  retryable: boolean;
  backtrace: string[] | null;
  status_code?: number;
  context?: JsonObject;
}

/** What a called server said about trying again. */
export interface WireOrchestrationMetadata {
  headers: Record<string, string>;
  error_context: string | null;
  backoff_hint: { backoff_type: string; delay_seconds: number; context: string | null } | null;
  custom: JsonObject;
}

/** How a handler's attempt ended. */
export interface WireCompletion {
  step_uuid: string;
  lease_id: number;
  success: boolean;
  status: 'completed' | 'failed' | 'error';
  result: unknown;
  metadata: WireResultMetadata;
  error: WireError | null;
  orchestration_metadata: WireOrchestrationMetadata | null;
  checkpoint?: never;
}

/** Progress of a step that asks to be run again from there. */
export interface WireCheckpointYield {
  step_uuid: string;
  lease_id: number;
  checkpoint: { cursor: unknown; items_processed: number; accumulated_results: unknown };
  success?: never;
}

/** What is reported for a lease. */
export type WireResult = WireCompletion | WireCheckpointYield;
