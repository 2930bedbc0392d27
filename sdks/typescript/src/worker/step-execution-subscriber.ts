/** Runs the handlers of leased steps. */

import type { TaskerEventEmitter } from '../events/emitter.js';
import { StepEventNames } from '../events/names.js';
import type { StepPayload, StepReceivedPayload } from '../events/payloads.js';
import { executeLease, handlerTimeout } from '../execution.js';
import { createLogger, isLogged } from '../logging/index.js';
import type { FetchedResult } from '../types/fetched-result.js';
import type { LeaseItem, WireResult } from '../wire.js';

/** Longest time that a timer can wait. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

const log = createLogger({ logger: 'tasker.worker' });

/** Finds the handler of a step; null if there is none. */
export type HandlerFinder = Parameters<typeof executeLease>[1]['resolve'];

/** Where handlers are found; a HandlerRegistry or a HandlerSystem. */
export interface HandlerSource {
  resolve: HandlerFinder;
}

/** How steps are run. */
export interface StepExecutionSubscriberConfig {
  /** The worker's name in results. */
  readonly workerId: string;
  /** Milliseconds that a handler may run if its step has no `timeout_seconds`; 300,000 by default. */
  readonly handlerTimeoutMs?: number | undefined;
  /** Gets the results that a lease leaves out, before its handler is called. Without it, they are absent. */
  readonly fetchResults?: ((lease: LeaseItem, signal: AbortSignal) => Promise<readonly FetchedResult[]>) | undefined;
  /** Called with what is to be reported for a step; not called for a step that was cancelled. */
  readonly onResult: (lease: LeaseItem, result: WireResult) => void;
}

interface Running {
  readonly lease: LeaseItem;
  readonly stop: AbortController;
  readonly startedAt: number;
  timer: NodeJS.Timeout | undefined;
}

/**
 * Runs the handler of each step that `step.execution.received` tells of, and says what came of it.
 *
 * A promise cannot be ended from outside. At its time limit, or when its step is cancelled, a handler's `context.signal`
 * aborts; whatever it returns then is dropped.
 */
export class StepExecutionSubscriber {
  readonly #emitter: TaskerEventEmitter;
  readonly #handlers: HandlerSource;
  readonly #config: StepExecutionSubscriberConfig;
  readonly #running = new Map<number, Running>();
  readonly #onReceived = (payload: StepReceivedPayload): void => this.#run(payload.lease);
  #active = false;
  #processed = 0;
  #errors = 0;

  constructor(emitter: TaskerEventEmitter, handlers: HandlerSource, config: StepExecutionSubscriberConfig) {
    this.#emitter = emitter;
    this.#handlers = handlers;
    this.#config = config;
  }

  /** Run what is received from now on. */
  start(): void {
    if (!this.#active) {
      this.#active = true;
      this.#emitter.on(StepEventNames.STEP_EXECUTION_RECEIVED, this.#onReceived);
    }
  }

  /** Run nothing more. What runs goes on. */
  stop(): void {
    this.#active = false;
    this.#emitter.off(StepEventNames.STEP_EXECUTION_RECEIVED, this.#onReceived);
  }

  /** Whether it runs what is received. */
  isRunning(): boolean {
    return this.#active;
  }

  /** How many handlers are running. */
  getActiveHandlers(): number {
    return this.#running.size;
  }

  /** How many steps have ended, failures among them. */
  getProcessedCount(): number {
    return this.#processed;
  }

  /** How many steps have failed. */
  getErrorCount(): number {
    return this.#errors;
  }

  /** Stop the handler of a lease; its result is dropped. Returns whether it was running. */
  cancel(leaseId: number, reason: string): boolean {
    const running = this.#running.get(leaseId);
    if (running === undefined) {
      return false;
    }
    this.#over(running);
    running.stop.abort(new Error(reason));
    return true;
  }

  #run(lease: LeaseItem): void {
    const running: Running = { lease, stop: new AbortController(), startedAt: performance.now(), timer: undefined };
    this.#running.set(lease.lease_id, running);
    const limitMs = this.#limit(lease);
    running.timer = setTimeout(() => this.#timeIsUp(running, limitMs), Math.min(limitMs, LONGEST_TIMER_MS));
    this.#emitter.emit(StepEventNames.STEP_EXECUTION_STARTED, described(lease));
    if (isLogged('debug')) {
      log.debug('step_started', logged(lease));
    }
    void executeLease(lease, {
      resolve: (definition) => this.#handlers.resolve(definition),
      fetchResults: () => this.#fetchResults(running),
      signal: running.stop.signal,
      workerId: this.#config.workerId,
    }).then((result) => this.#returned(running, result));
  }

  async #fetchResults(running: Running): Promise<readonly FetchedResult[]> {
    const found = (await this.#config.fetchResults?.(running.lease, running.stop.signal)) ?? [];
    running.stop.signal.throwIfAborted();
    return found;
  }

  #limit(lease: LeaseItem): number {
    const seconds = lease.task_sequence_step.step_definition.timeout_seconds;
    return seconds ? seconds * 1000 : (this.#config.handlerTimeoutMs ?? 300_000);
  }

  #returned(running: Running, result: WireResult): void {
    if (this.#running.get(running.lease.lease_id) === running) {
      this.#end(running, result);
    } else if (isLogged('debug')) {
      log.debug('late_result_dropped', logged(running.lease));
    }
  }

  #timeIsUp(running: Running, limitMs: number): void {
    const result = handlerTimeout(running.lease, limitMs, this.#config.workerId);
    this.#end(running, result);
    running.stop.abort(new Error(`the handler ran longer than its limit of ${limitMs} ms`));
  }

  #end(running: Running, result: WireResult): void {
    this.#over(running);
    this.#tell(running, result);
    this.#config.onResult(running.lease, result);
  }

  #over(running: Running): void {
    this.#running.delete(running.lease.lease_id);
    clearTimeout(running.timer);
  }

  #tell(running: Running, result: WireResult): void {
    const { lease } = running;
    const executionTimeMs = Math.round(performance.now() - running.startedAt);
    const failure = result.success === false ? result.error : null;
    if (isLogged('debug')) {
      const ending = { success: failure === null, milliseconds: executionTimeMs };
      const reason = failure === null ? {} : { error_type: failure.error_type, reason: failure.message };
      log.debug('step_ended', { ...logged(lease), ...ending, ...reason });
    }
    if (result.checkpoint !== undefined) {
      return;
    }
    this.#processed += 1;
    if (failure === null) {
      this.#emitter.emit(StepEventNames.STEP_EXECUTION_COMPLETED, { ...described(lease), executionTimeMs });
      return;
    }
    this.#errors += 1;
    const { error_type: errorType, message: errorMessage, retryable } = failure;
    const timedOut = errorType === 'handler_timeout';
    this.#emitter.emit(timedOut ? StepEventNames.STEP_EXECUTION_TIMEOUT : StepEventNames.STEP_EXECUTION_FAILED, {
      ...described(lease),
      executionTimeMs,
      errorType,
      errorMessage,
      retryable,
    });
  }
}

function described(lease: LeaseItem): StepPayload {
  const { workflow_step: step, step_definition: definition } = lease.task_sequence_step;
  return {
    stepUuid: lease.step_uuid,
    taskUuid: lease.task_uuid ?? '',
    stepName: step.name ?? '',
    callable: definition.handler?.callable ?? '',
    attempt: lease.attempt ?? 1,
  };
}

/** What log lines say about a step. */
export function logged(lease: LeaseItem): Record<string, unknown> {
  const { workflow_step: step, task } = lease.task_sequence_step;
  return {
    step: step.name,
    template: `${task.namespace_name}/${task.task_name}`,
    task_uuid: lease.task_uuid,
    step_uuid: lease.step_uuid,
    lease_id: lease.lease_id,
    attempt: lease.attempt,
  };
}
