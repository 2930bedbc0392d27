export { conditionHolds, matchesPattern } from './matching.js';
export type {
  DomainEventCallback,
  DomainEventErrorCallback,
  DomainEventPollerConfig,
  DomainEventPollFunction,
  PollerStats,
} from './poller.js';
export { createFfiPollAdapter, InProcessDomainEventPoller } from './poller.js';
export { BasePublisher, DefaultPublisher } from './publisher.js';
export {
  DuplicatePublisherError,
  PublisherNotFoundError,
  PublisherRegistry,
  PublisherValidationError,
  RegistryFrozenError,
} from './publisher-registry.js';
export type { SubscriberClass, SubscriberStats } from './subscriber.js';
export { BaseSubscriber, SubscriberRegistry } from './subscriber.js';
export type {
  DomainEvent,
  DomainEventMetadata,
  DomainEventParams,
  EventCondition,
  EventDeclaration,
  FfiDomainEvent,
  PublishContext,
  StepEventContext,
  StepResult,
} from './types.js';
export { createDomainEvent, createStepEventContext, ffiEventToDomainEvent } from './types.js';
