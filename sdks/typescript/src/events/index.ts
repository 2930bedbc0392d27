/** Events of a worker: what happens to it and to its steps. */

export { type EventListener, TaskerEventEmitter } from './emitter.js';
export {
  createEventPoller,
  EventPoller,
  type EventPollerConfig,
  type PollerState,
  type PollFunction,
} from './event-poller.js';
export { EventSystem, type EventSystemStats } from './event-system.js';
export {
  type EventName,
  EventNames,
  type MetricsEventName,
  MetricsEventNames,
  type PollerEventName,
  PollerEventNames,
  type StepEventName,
  StepEventNames,
  type WorkerEventName,
  WorkerEventNames,
} from './names.js';
export type {
  ErrorPayload,
  EventPayloads,
  MetricsPayload,
  PollerPayload,
  StepCompletedPayload,
  StepFailedPayload,
  StepPayload,
  StepReceivedPayload,
  StepSentPayload,
  StepStartedPayload,
  WorkerPayload,
} from './payloads.js';
