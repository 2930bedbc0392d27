/** What a server answers about tasks and steps. */

/** A task to create. */
export interface CreateTaskOptions {
  /** Name of the template. */
  readonly name: string;
  /** Namespace of the template; `default` by default. */
  readonly namespace?: string | undefined;
  /** The task's input; `{}` by default. */
  readonly context?: Record<string, unknown> | undefined;
  /** Version of the template; `1.0.0` by default. */
  readonly version?: string | undefined;
  /** Who asks for the task; `tasker-core-typescript` by default. */
  readonly initiator?: string | undefined;
  /** Where the request comes from; `tasker-core` by default. */
  readonly sourceSystem?: string | undefined;
  /** `Task requested` by default. */
  readonly reason?: string | undefined;
  readonly tags?: readonly string[] | undefined;
  /** Tasks of higher priority are run first; 0 by default. */
  readonly priority?: number | undefined;
  /** Ties together what belongs together; a new UUID by default. */
  readonly correlationId?: string | undefined;
  readonly parentCorrelationId?: string | undefined;
  /** Names the request: made twice, it is one task. A request with a key is repeated if the connection fails. */
  readonly idempotencyKey?: string | undefined;
}

/** Which tasks to list. */
export interface ListTasksOptions {
  /** How many at most, up to 100; 50 by default. */
  readonly limit?: number | undefined;
  /** How many to skip, a multiple of `limit`; 0 by default. */
  readonly offset?: number | undefined;
  readonly namespace?: string | undefined;
  /** State of the tasks, such as `complete`. */
  readonly status?: string | undefined;
}

/** Whether a step may run. */
export interface StepReadinessStatus {
  readonly workflow_step_uuid: string;
  readonly task_uuid: string;
  readonly named_step_uuid: string;
  readonly name: string;
  readonly current_state: string;
  readonly dependencies_satisfied: boolean;
  readonly retry_eligible: boolean;
  readonly ready_for_execution: boolean;
  readonly last_failure_at: string | null;
  readonly next_retry_at: string | null;
  readonly total_parents: number;
  readonly completed_parents: number;
  readonly attempts: number;
  readonly max_attempts: number;
  readonly backoff_request_seconds: number | null;
  readonly last_attempted_at: string | null;
}

/** A task. `steps` is empty in lists. */
export interface TaskResponse {
  readonly task_uuid: string;
  readonly name: string;
  readonly namespace: string;
  readonly version: string;
  readonly status: string;
  readonly created_at: string;
  readonly updated_at: string;
  readonly completed_at: string | null;
  readonly context: Record<string, unknown>;
  readonly initiator: string | null;
  readonly source_system: string | null;
  readonly reason: string | null;
  readonly priority: number | null;
  readonly tags: readonly string[] | null;
  readonly correlation_id: string;
  readonly parent_correlation_id: string | null;
  readonly total_steps: number;
  readonly pending_steps: number;
  readonly in_progress_steps: number;
  readonly completed_steps: number;
  readonly failed_steps: number;
  readonly ready_steps: number;
  readonly execution_status: string;
  readonly recommended_action: string;
  readonly completion_percentage: number;
  readonly health_status: string;
  readonly steps: readonly StepReadinessStatus[];
}

/** Where a page stands among all. */
export interface PaginationInfo {
  readonly page: number;
  readonly per_page: number;
  readonly total_count: number;
  readonly total_pages: number;
  readonly has_next: boolean;
  readonly has_previous: boolean;
  /** The same as `total_count`. */
  readonly total: number;
  /** The same as `per_page`. */
  readonly limit: number;
  /** How many come before this page. */
  readonly offset: number;
  /** The same as `has_next`. */
  readonly has_more: boolean;
}

/** Tasks, newest first. */
export interface TaskListResponse {
  readonly tasks: readonly TaskResponse[];
  readonly pagination: PaginationInfo;
}

/** A step of a task. */
export interface StepResponse {
  readonly step_uuid: string;
  readonly task_uuid: string;
  readonly name: string;
  readonly created_at: string;
  readonly updated_at: string;
  readonly completed_at: string | null;
  /** What the step left: `result`, `success`, `error`, `metadata`; null if nothing yet. */
  readonly results: Record<string, unknown> | null;
  readonly current_state: string;
  readonly dependencies_satisfied: boolean;
  readonly retry_eligible: boolean;
  readonly ready_for_execution: boolean;
  readonly total_parents: number;
  readonly completed_parents: number;
  readonly attempts: number;
  readonly max_attempts: number;
  readonly last_failure_at: string | null;
  readonly next_retry_at: string | null;
  readonly last_attempted_at: string | null;
}

/** An attempt of a step that ended. */
export interface StepAuditResponse {
  readonly audit_uuid: string;
  readonly workflow_step_uuid: string;
  readonly transition_uuid: string;
  readonly task_uuid: string;
  readonly recorded_at: string;
  readonly worker_uuid: string | null;
  readonly correlation_id: string | null;
  readonly success: boolean;
  readonly execution_time_ms: number | null;
  readonly result: unknown;
  readonly step_name: string;
  readonly from_state: string | null;
  readonly to_state: string;
}

/** The task that was cancelled. */
export type CancelTaskResponse = TaskResponse;

/** Whether the server is well. */
export interface HealthCheckResponse {
  readonly healthy: boolean;
}
