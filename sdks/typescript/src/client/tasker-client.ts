/** Talks to a Tasker server: creates tasks and looks at them. */

import { randomUUID } from 'node:crypto';

import { requestHeaders, type ServerOptions, serverUrl } from './credentials.js';
import { errorIn, type HttpAnswer, HttpConnection, NoAnswerError, retryAfterSeconds } from './http.js';
import type {
  CancelTaskResponse,
  CreateTaskOptions,
  HealthCheckResponse,
  ListTasksOptions,
  PaginationInfo,
  StepAuditResponse,
  StepResponse,
  TaskListResponse,
  TaskResponse,
} from './types.js';

/** Longest time that a server's `Retry-After` is waited for, in seconds. */
const LONGEST_PAUSE_SECONDS = 30;

const UNAVAILABLE = new Set([502, 503, 504]);

/** How to talk to a server; what is not given comes from the environment. */
export interface TaskerClientOptions extends ServerOptions {
  /** Milliseconds until a request counts as failed; `TASKER_ORCHESTRATION_TIMEOUT_MS`, else 30,000. */
  readonly timeoutMs?: number | undefined;
  /** How often a request is made again if the server cannot be reached; 3 by default. */
  readonly maxRetries?: number | undefined;
}

/** A call that failed. */
export class TaskerClientError extends Error {
  override name = 'TaskerClientError';

  /**
   * @param message what went wrong.
   * @param recoverable whether the same call may succeed later: the server could not be reached, or had an error itself.
   * @param status the answer's status; null if none came.
   * @param code the server's name for the error, such as `NOT_FOUND`; null if no answer came.
   * @param details what the server says about parts of the request; null if nothing.
   */
  constructor(
    message: string,
    readonly recoverable = false,
    readonly status: number | null = null,
    readonly code: string | null = null,
    readonly details: unknown = null,
  ) {
    super(message);
  }
}

interface Call {
  readonly name: string;
  readonly method: string;
  readonly path: string;
  readonly body?: unknown;
  /** Whether it may be made twice. */
  readonly repeatable: boolean;
}

/** Talks to a Tasker server. Keeps connections, so make one and keep it. All methods throw {@link TaskerClientError}. */
export class TaskerClient {
  readonly #connection: HttpConnection;
  readonly #timeoutMs: number;
  readonly #maxRetries: number;

  /** @throws TaskerClientError if the server's URL is none. */
  constructor(options: TaskerClientOptions = {}) {
    const url = serverUrl(options);
    try {
      this.#connection = new HttpConnection(url, requestHeaders(options));
    } catch (error) {
      throw new TaskerClientError(`${url} is no URL of a server: ${(error as Error).message}`);
    }
    this.#timeoutMs = options.timeoutMs ?? (Number(process.env['TASKER_ORCHESTRATION_TIMEOUT_MS']) || 30_000);
    this.#maxRetries = options.maxRetries ?? 3;
  }

  /** The server's base URL. */
  get baseUrl(): string {
    return this.#connection.url;
  }

  /** Create a task. It is made once more after a lost connection only if it has an `idempotencyKey`. */
  createTask(options: CreateTaskOptions): Promise<TaskResponse> {
    return this.#call({
      name: 'createTask',
      method: 'POST',
      path: '/v1/tasks',
      body: taskBody(options),
      repeatable: options.idempotencyKey !== undefined,
    });
  }

  /** Return a task. */
  getTask(taskUuid: string): Promise<TaskResponse> {
    return this.#get('getTask', `/v1/tasks/${encodeURIComponent(taskUuid)}`);
  }

  /** Return tasks, newest first. */
  async listTasks(options: ListTasksOptions = {}): Promise<TaskListResponse> {
    const { limit = 50, offset = 0, namespace, status } = options;
    const query = new URLSearchParams({ page: String(Math.floor(offset / limit) + 1), per_page: String(limit) });
    for (const [key, value] of Object.entries({ namespace, status })) {
      if (value !== undefined) {
        query.set(key, value);
      }
    }
    const found = await this.#get<TaskListResponse>('listTasks', `/v1/tasks?${query}`);
    return { ...found, pagination: withOffsets(found.pagination) };
  }

  /** Cancel a task. */
  cancelTask(taskUuid: string): Promise<CancelTaskResponse> {
    const path = `/v1/tasks/${encodeURIComponent(taskUuid)}`;
    return this.#call({ name: 'cancelTask', method: 'DELETE', path, repeatable: false });
  }

  /** Return all steps of a task, in the order of its template. */
  listTaskSteps(taskUuid: string): Promise<StepResponse[]> {
    return this.#get('listTaskSteps', `/v1/tasks/${encodeURIComponent(taskUuid)}/workflow_steps`);
  }

  /** Return a step of a task. */
  getStep(taskUuid: string, stepUuid: string): Promise<StepResponse> {
    return this.#get('getStep', stepPath(taskUuid, stepUuid));
  }

  /** Return the attempts of a step that ended, newest first. */
  getStepAuditHistory(taskUuid: string, stepUuid: string): Promise<StepAuditResponse[]> {
    return this.#get('getStepAuditHistory', `${stepPath(taskUuid, stepUuid)}/audit`);
  }

  /** Ask whether the server is well. Throws if it cannot be reached. */
  async healthCheck(): Promise<HealthCheckResponse> {
    const answer = await this.#get<{ status: string }>('healthCheck', '/health');
    return { healthy: answer.status === 'healthy' };
  }

  /** Close all connections. */
  close(): void {
    this.#connection.close();
  }

  #get<Answer>(name: string, path: string): Promise<Answer> {
    return this.#call({ name, method: 'GET', path, repeatable: true });
  }

  async #call<Answer>(call: Call): Promise<Answer> {
    const body = call.body === undefined ? undefined : JSON.stringify(call.body);
    const request = { method: call.method, path: call.path, body, timeoutMs: this.#timeoutMs };
    for (let attempt = 0; ; attempt += 1) {
      const answer = await this.#send(request);
      const mayRepeat = call.repeatable && attempt < this.#maxRetries;
      if (answer instanceof NoAnswerError) {
        if (!mayRepeat) {
          throw new TaskerClientError(`${call.name} failed: ${answer.message}`, true);
        }
      } else if (!(UNAVAILABLE.has(answer.status) && mayRepeat)) {
        return read<Answer>(call.name, answer);
      }
      await pause(attempt, answer instanceof NoAnswerError ? null : retryAfterSeconds(answer));
    }
  }

  async #send(request: Parameters<HttpConnection['send']>[0]): Promise<HttpAnswer | NoAnswerError> {
    try {
      return await this.#connection.send(request);
    } catch (error) {
      if (error instanceof NoAnswerError) {
        return error;
      }
      throw error;
    }
  }
}

let shared: TaskerClient | null = null;

/** Return the client of this process, which is set up by the environment. */
export async function getTaskerClient(): Promise<TaskerClient> {
  shared ??= new TaskerClient();
  return shared;
}

function taskBody(options: CreateTaskOptions): Record<string, unknown> {
  return {
    name: options.name,
    namespace: options.namespace ?? 'default',
    context: options.context ?? {},
    version: options.version ?? '1.0.0',
    initiator: options.initiator ?? 'tasker-core-typescript',
    source_system: options.sourceSystem ?? 'tasker-core',
    reason: options.reason ?? 'Task requested',
    tags: options.tags ?? [],
    priority: options.priority ?? null,
    correlation_id: options.correlationId ?? randomUUID(),
    parent_correlation_id: options.parentCorrelationId ?? null,
    idempotency_key: options.idempotencyKey ?? null,
  };
}

function withOffsets(pagination: PaginationInfo): PaginationInfo {
  const { page, per_page: limit, total_count: total, has_next: more } = pagination;
  return { ...pagination, total, limit, offset: (page - 1) * limit, has_more: more };
}

function stepPath(taskUuid: string, stepUuid: string): string {
  return `/v1/tasks/${encodeURIComponent(taskUuid)}/workflow_steps/${encodeURIComponent(stepUuid)}`;
}

function read<Answer>(name: string, answer: HttpAnswer): Answer {
  if (answer.status < 200 || answer.status > 299) {
    const { code, message, details } = errorIn(answer);
    const recoverable = answer.status >= 500 || answer.status === 429 || answer.status === 408;
    throw new TaskerClientError(`${name} failed: ${message}`, recoverable, answer.status, code, details);
  }
  try {
    return JSON.parse(answer.text) as Answer;
  } catch (error) {
    throw new TaskerClientError(`${name} failed: the answer cannot be read: ${(error as Error).message}`);
  }
}

/** Wait before a request is made again: longer each time, a little at random, and as long as the server asks. */
async function pause(attempt: number, retryAfter: number | null): Promise<void> {
  const grown = Math.min(0.25 * 2 ** attempt, 2) * (0.8 + 0.4 * Math.random());
  const seconds = Math.max(grown, Math.min(retryAfter ?? 0, LONGEST_PAUSE_SECONDS));
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
}
