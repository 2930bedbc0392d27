/** The client: creates tasks and looks at them, over HTTP. */

export type { ServerOptions } from './credentials.js';
export { getTaskerClient, TaskerClient, TaskerClientError, type TaskerClientOptions } from './tasker-client.js';
export type {
  CancelTaskResponse,
  CreateTaskOptions,
  HealthCheckResponse,
  ListTasksOptions,
  PaginationInfo,
  StepAuditResponse,
  StepReadinessStatus,
  StepResponse,
  TaskListResponse,
  TaskResponse,
} from './types.js';
