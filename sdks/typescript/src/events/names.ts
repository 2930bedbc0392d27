/** Names of the events that a worker tells about itself. */

/** What happens to steps. */
export const StepEventNames = {
  /** A step was leased and its handler is about to be called. Payload: {@link StepReceivedPayload}. */
  STEP_EXECUTION_RECEIVED: 'step.execution.received',
  /** The handler was called. Payload: {@link StepStartedPayload}. */
  STEP_EXECUTION_STARTED: 'step.execution.started',
  /** The handler succeeded. Payload: {@link StepCompletedPayload}. */
  STEP_EXECUTION_COMPLETED: 'step.execution.completed',
  /** The handler failed. Payload: {@link StepFailedPayload}. */
  STEP_EXECUTION_FAILED: 'step.execution.failed',
  /** The handler ran into its time limit. Payload: {@link StepFailedPayload}. */
  STEP_EXECUTION_TIMEOUT: 'step.execution.timeout',
  /** The server recorded the result. Payload: {@link StepSentPayload}. */
  STEP_COMPLETION_SENT: 'step.completion.sent',
  /** The server recorded a checkpoint. Payload: {@link StepSentPayload}. */
  STEP_CHECKPOINT_YIELD_SENT: 'step.checkpoint_yield.sent',
} as const;

/** What happens to the worker. */
export const WorkerEventNames = {
  /** It runs. Payload: {@link WorkerPayload}. */
  WORKER_STARTED: 'worker.started',
  /** It is registered with the server and takes steps. Payload: {@link WorkerPayload}. */
  WORKER_READY: 'worker.ready',
  /** It takes no more steps. Payload: {@link WorkerPayload}. */
  WORKER_SHUTDOWN_STARTED: 'worker.shutdown.started',
  /** It has ended. Payload: {@link WorkerPayload}. */
  WORKER_STOPPED: 'worker.stopped',
  /** It ended by an error. Payload: {@link ErrorPayload}. */
  WORKER_ERROR: 'worker.error',
} as const;

/** What happens to the loop that asks for steps. */
export const PollerEventNames = {
  /** It asks for steps. Payload: {@link PollerPayload}. */
  POLLER_STARTED: 'poller.started',
  /** It asks no more. Payload: {@link PollerPayload}. */
  POLLER_STOPPED: 'poller.stopped',
  /** It asked once. Payload: {@link PollerPayload}. */
  POLLER_CYCLE_COMPLETE: 'poller.cycle.complete',
  /** Nothing was found for a whole `starvationCheckInterval` of cycles. Payload: {@link PollerPayload}. */
  POLLER_STARVATION_DETECTED: 'poller.starvation.detected',
  /** Asking failed. Payload: {@link ErrorPayload}. */
  POLLER_ERROR: 'poller.error',
} as const;

/** What is counted. */
export const MetricsEventNames = {
  /** New counts. Payload: {@link MetricsPayload}. */
  METRICS_UPDATED: 'metrics.updated',
  /** Counting failed. Payload: {@link ErrorPayload}. */
  METRICS_ERROR: 'metrics.error',
} as const;

/** All of them. */
export const EventNames = {
  ...StepEventNames,
  ...WorkerEventNames,
  ...PollerEventNames,
  ...MetricsEventNames,
} as const;

/** The name of an event about a step. */
export type StepEventName = (typeof StepEventNames)[keyof typeof StepEventNames];
/** The name of an event about the worker. */
export type WorkerEventName = (typeof WorkerEventNames)[keyof typeof WorkerEventNames];
/** The name of an event about the loop that asks for steps. */
export type PollerEventName = (typeof PollerEventNames)[keyof typeof PollerEventNames];
/** The name of an event about counts. */
export type MetricsEventName = (typeof MetricsEventNames)[keyof typeof MetricsEventNames];
/** The name of any event. */
export type EventName = (typeof EventNames)[keyof typeof EventNames];
