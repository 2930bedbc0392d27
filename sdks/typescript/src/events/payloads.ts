/** What events carry. */

import type { LeaseItem } from '../wire.js';

/** Which step an event is about. */
export interface StepPayload {
  readonly stepUuid: string;
  readonly taskUuid: string;
  /** Name of the step in its template. */
  readonly stepName: string;
  /** What the template calls. */
  readonly callable: string;
  /** Number of the attempt, from 1. */
  readonly attempt: number;
}

/** Of `step.execution.received`. */
export interface StepReceivedPayload {
  readonly lease: LeaseItem;
}

/** Of `step.execution.started`. */
export type StepStartedPayload = StepPayload;

/** Of `step.execution.completed`. */
export interface StepCompletedPayload extends StepPayload {
  readonly executionTimeMs: number;
}

/** Of `step.execution.failed` and `step.execution.timeout`. */
export interface StepFailedPayload extends StepCompletedPayload {
  readonly errorType: string | null;
  readonly errorMessage: string;
  readonly retryable: boolean;
}

/** Of `step.completion.sent` and `step.checkpoint_yield.sent`. */
export interface StepSentPayload {
  readonly stepUuid: string;
  readonly success: boolean;
}

/** Of the events about the worker. */
export interface WorkerPayload {
  readonly workerId: string;
}

/** Of the events about the loop that asks for steps. */
export interface PollerPayload {
  /** How often it has asked. */
  readonly cycleCount: number;
  /** How many steps it found the last time. */
  readonly eventsFound: number;
}

/** Of `metrics.updated`. */
export interface MetricsPayload {
  /** How often the poller has asked. */
  readonly cycleCount: number;
  /** How many steps it has found since it was started. */
  readonly eventsFound: number;
}

/** Of the events about errors. */
export interface ErrorPayload {
  readonly error: Error;
}

/** The payload of each event. */
export interface EventPayloads {
  'step.execution.received': StepReceivedPayload;
  'step.execution.started': StepStartedPayload;
  'step.execution.completed': StepCompletedPayload;
  'step.execution.failed': StepFailedPayload;
  'step.execution.timeout': StepFailedPayload;
  'step.completion.sent': StepSentPayload;
  'step.checkpoint_yield.sent': StepSentPayload;
  'worker.started': WorkerPayload;
  'worker.ready': WorkerPayload;
  'worker.shutdown.started': WorkerPayload;
  'worker.stopped': WorkerPayload;
  'worker.error': ErrorPayload;
  'poller.started': PollerPayload;
  'poller.stopped': PollerPayload;
  'poller.cycle.complete': PollerPayload;
  'poller.starvation.detected': PollerPayload;
  'poller.error': ErrorPayload;
  'metrics.updated': MetricsPayload;
  'metrics.error': ErrorPayload;
}
