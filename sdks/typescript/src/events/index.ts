/** Events of a worker: what happens to it and to its steps. */

export { TaskerEventEmitter, type EventListener } from './emitter.js';
export {
  EventPoller,
  createEventPoller,
  type EventPollerConfig,
  type PollFunction,
  type PollerState,
} from './event-poller.js';
export { EventSystem, type EventSystemStats } from './event-system.js';
export {
  EventNames,
  MetricsEventNames,
  PollerEventNames,
  StepEventNames,
  WorkerEventNames,
  type EventName,
  type MetricsEventName,
  type PollerEventName,
  type StepEventName,
  type WorkerEventName,
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
