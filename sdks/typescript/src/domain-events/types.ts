import { randomUUID } from 'node:crypto';
import type { JsonObject } from '../wire.js';

/** For which outcomes of its step an event is published. */
export type EventCondition = 'success' | 'failure' | 'retryable_failure' | 'permanent_failure' | 'always';

/** An event that a template declares for a step. */
export interface EventDeclaration {
  /** With dots between its parts, such as `payment.processed`. */
  name: string;
  /** `success` by default. */
  condition?: EventCondition;
  deliveryMode?: 'durable' | 'fast' | 'broadcast';
  /** Name of the publisher; the default one if absent. */
  publisher?: string;
  /** JSON Schema of the payload. */
  schema?: JsonObject;
}

/** How a step ended, as far as events are concerned; a `StepHandlerResult` is one. */
export interface StepResult {
  success: boolean;
  result?: JsonObject | null;
  metadata?: JsonObject;
  /** Whether a failure may be tried again; true by default. */
  retryable?: boolean;
  errorMessage?: string | null;
  errorType?: string | null;
}

/** The step that an event is about. */
export interface StepEventContext {
  taskUuid: string;
  stepUuid: string;
  stepName: string;
  namespace: string;
  correlationId: string;
  result?: unknown;
  metadata: JsonObject;
}

/** Where an event comes from. */
export interface DomainEventMetadata {
  taskUuid: string;
  stepUuid: string;
  stepName?: string;
  namespace: string;
  correlationId: string;
  /** In ISO 8601. */
  firedAt: string;
  publisher?: string;
  [key: string]: unknown;
}

/** Something that happened in the business that a workflow serves. */
export interface DomainEvent {
  eventId: string;
  eventName: string;
  payload: JsonObject;
  metadata: DomainEventMetadata;
  executionResult: { success: boolean; result?: unknown; metadata?: JsonObject };
}

/** A domain event with the keys of other runtimes. */
export interface FfiDomainEvent {
  eventId: string;
  eventName: string;
  eventVersion?: string;
  metadata: {
    taskUuid: string;
    stepUuid?: string | null;
    stepName?: string | null;
    namespace: string;
    correlationId: string;
    firedAt: string;
    firedBy?: string | null;
  };
  payload: JsonObject;
}

/** What a publisher is asked to publish. */
export interface PublishContext {
  eventName: string;
  stepResult: StepResult;
  eventDeclaration?: EventDeclaration;
  stepContext?: StepEventContext;
}

/** The context of a step's events; the namespace is `default` and the correlation id that of the task if absent. */
export function createStepEventContext(
  params: Pick<StepEventContext, 'taskUuid' | 'stepUuid' | 'stepName'> & Partial<StepEventContext>,
): StepEventContext {
  return {
    ...params,
    namespace: params.namespace ?? 'default',
    correlationId: params.correlationId ?? params.taskUuid,
    metadata: params.metadata ?? {},
  };
}

/** What {@link createDomainEvent} makes an event of. */
export interface DomainEventParams {
  eventName: string;
  payload: JsonObject;
  stepResult: StepResult;
  stepContext?: StepEventContext | undefined;
  metadata?: JsonObject;
}

/** An event with an id of its own and the present time. */
export function createDomainEvent(params: DomainEventParams): DomainEvent {
  const { eventName, payload, stepResult, stepContext, metadata = {} } = params;
  return {
    eventId: randomUUID(),
    eventName,
    payload,
    metadata: {
      taskUuid: stepContext?.taskUuid ?? '',
      stepUuid: stepContext?.stepUuid ?? '',
      ...(stepContext ? { stepName: stepContext.stepName } : {}),
      namespace: stepContext?.namespace ?? 'default',
      correlationId: stepContext?.correlationId ?? '',
      firedAt: new Date().toISOString(),
      ...metadata,
    },
    executionResult: {
      success: stepResult.success,
      result: stepResult.result ?? null,
      metadata: stepResult.metadata ?? {},
    },
  };
}

/** The same event with our keys. */
export function ffiEventToDomainEvent(event: FfiDomainEvent): DomainEvent {
  const { stepUuid, stepName, firedBy, ...metadata } = event.metadata;
  return {
    eventId: event.eventId,
    eventName: event.eventName,
    payload: event.payload,
    metadata: {
      ...metadata,
      stepUuid: stepUuid ?? '',
      ...(stepName ? { stepName } : {}),
      ...(firedBy ? { publisher: firedBy } : {}),
    },
    executionResult: { success: true, result: event.payload },
  };
}
