/** Helpers for the tests of handlers: no server is needed. */

import { emitDomainEvent, listenToDomainEvents } from './domain-events/bus.js';
import { matchesPattern } from './domain-events/matching.js';
import { BasePublisher } from './domain-events/publisher.js';
import type { DomainEvent, PublishContext } from './domain-events/types.js';
import { createDomainEvent } from './domain-events/types.js';
import { wireResultOf } from './execution.js';
import { failureFromError } from './handler/errors.js';
import type { ExecutableHandler } from './handler/step-handler.js';
import { StepContext } from './types/step-context.js';
import type {
  FfiStepEvent,
  StepEventCheckpoint,
  StepEventDefinition,
  StepEventTask,
  StepEventWorkflowStep,
} from './types/step-event.js';
import type { StepHandlerResult } from './types/step-handler-result.js';
import { isObject } from './types/values.js';
import type { JsonObject } from './wire.js';

const TASK_UUID = '00000000-0000-4000-8000-000000000001';
const STEP_UUID = '00000000-0000-4000-8000-000000000002';
const TIME = '2030-01-31T08:00:00.000000Z';

/** What a test says of a context; what it does not say is empty. */
export interface ContextOptions {
  /** The task's context. */
  inputData?: JsonObject;
  /** The results of earlier steps by name. */
  dependencyResults?: Record<string, unknown>;
  /** The handler's configuration. */
  stepConfig?: JsonObject;
  /** What is given to this step alone, such as a batch's cursor. */
  stepInputs?: JsonObject;
  /** 0 by default. */
  retryCount?: number;
  /** 3 by default. */
  maxRetries?: number;
  /** Progress that an earlier run saved. */
  checkpoint?: StepEventCheckpoint | null;
  /** Never aborts by default. */
  signal?: AbortSignal;
}

/** A handler's context. */
export function makeContext(options: ContextOptions = {}): StepContext {
  const { inputData = {}, stepConfig = {}, stepInputs = {}, retryCount = 0, maxRetries = 3 } = options;
  const event = makeStepEvent({
    task: { context: inputData },
    workflowStep: { inputs: stepInputs, attempts: retryCount, maxAttempts: maxRetries, checkpoint: options.checkpoint },
    stepDefinition: { handlerInitialization: stepConfig },
  });
  return new StepContext({
    event,
    taskUuid: event.taskUuid,
    stepUuid: event.stepUuid,
    correlationId: event.correlationId,
    handlerName: event.stepDefinition.handlerCallable,
    inputData,
    dependencyResults: options.dependencyResults ?? {},
    stepConfig,
    stepInputs,
    retryCount,
    maxRetries,
    ...(options.signal ? { signal: options.signal } : {}),
  });
}

/** What a test says of a step event. */
export interface StepEventOverrides extends Partial<Omit<FfiStepEvent, 'task' | 'workflowStep' | 'stepDefinition'>> {
  task?: Partial<StepEventTask>;
  workflowStep?: Partial<StepEventWorkflowStep>;
  stepDefinition?: Partial<StepEventDefinition>;
}

/** A step event as a handler's context has it. */
export function makeStepEvent(overrides: StepEventOverrides = {}): FfiStepEvent {
  const { task, workflowStep, stepDefinition, ...others } = overrides;
  return {
    eventId: '00000000-0000-4000-8000-000000000003',
    taskUuid: TASK_UUID,
    stepUuid: STEP_UUID,
    correlationId: TASK_UUID,
    taskCorrelationId: TASK_UUID,
    dependencyResults: {},
    ...others,
    task: { ...makeTask(), ...task },
    workflowStep: { ...makeWorkflowStep(), ...workflowStep },
    stepDefinition: { ...makeDefinition(), ...stepDefinition },
  };
}

/** Runs a handler as a worker does: what it throws becomes a failure. */
export async function runHandler(
  handler: (new () => ExecutableHandler) | ExecutableHandler,
  context: StepContext,
): Promise<StepHandlerResult> {
  try {
    return await (typeof handler === 'function' ? new handler() : handler).call(context);
  } catch (error) {
    return failureFromError(error);
  }
}

/** What a worker would report for a result of a handler that ran for some milliseconds. */
export function toWireResult(event: FfiStepEvent, result: StepHandlerResult, executionTimeMs: number): JsonObject {
  const { lease_id: _, ...wire } = wireResultOf({ step_uuid: event.stepUuid, lease_id: 1 }, result, 'test');
  if (!('metadata' in wire)) return wire;
  return { ...wire, metadata: { ...wire.metadata, execution_time_ms: executionTimeMs } };
}

const VOLATILE = new Set(['event_id', 'eventId', 'worker_id', 'worker_hostname', 'execution_time_ms']);

/** A copy without what differs from run to run: times (`..._at`, `...At`), generated ids, durations. */
export function stripVolatile<T>(value: T): T {
  if (Array.isArray(value)) return value.map(stripVolatile) as T;
  if (!isObject(value)) return value;
  const kept = Object.entries(value).filter(([key]) => !VOLATILE.has(key) && !/(_at|At)$/.test(key));
  return Object.fromEntries(kept.map(([key, each]) => [key, stripVolatile(each)])) as T;
}

/** A publisher that records what it is asked to publish. */
export class MockEventPublisher extends BasePublisher {
  readonly publisherName: string;
  /** In the order in which they were published. */
  readonly publishedEvents: DomainEvent[] = [];
  private failure: Error | null = null;

  constructor(publisherName = 'mock') {
    super();
    this.publisherName = publisherName;
  }

  /** Records the event and hands it to subscribers; false while a failure is simulated. */
  override publish(context: PublishContext): boolean {
    const { eventName, stepResult, stepContext } = context;
    if (this.failure !== null) {
      this.onPublishError(eventName, this.failure, stepResult.result ?? {});
      return false;
    }
    const payload = this.transformPayload(stepResult, context.eventDeclaration, stepContext);
    const event = createDomainEvent({ eventName, payload, stepResult, stepContext });
    this.publishedEvents.push(event);
    emitDomainEvent(event);
    return true;
  }

  /** The events of a name. */
  eventsByName(name: string): DomainEvent[] {
    return this.publishedEvents.filter((event) => event.eventName === name);
  }

  /** The events whose names fit a pattern such as `payment.*`. */
  eventsMatching(pattern: string): DomainEvent[] {
    return this.publishedEvents.filter((event) => matchesPattern(pattern, event.eventName));
  }

  /** Makes every attempt to publish fail from now on. */
  simulateFailure(error: Error = new Error('simulated failure')): void {
    this.failure = error;
  }

  /** Ends what `simulateFailure` began. */
  clearFailure(): void {
    this.failure = null;
  }

  /** Forgets the events. */
  clear(): void {
    this.publishedEvents.length = 0;
  }
}

/** Collects the events that publishers of this process publish. */
export class EventCapture {
  readonly events: DomainEvent[] = [];
  private readonly waiting = new Set<() => void>();
  private stopListening: (() => void) | null = null;

  /** Starts to collect the events whose names fit a pattern, all of them by default. */
  subscribeTo(pattern = '*'): this {
    this.stop();
    this.stopListening = listenToDomainEvents((event) => {
      if (!matchesPattern(pattern, event.eventName)) return;
      this.events.push(event);
      for (const check of this.waiting) check();
    });
    return this;
  }

  /** The events of a name. */
  eventsByName(name: string): DomainEvent[] {
    return this.events.filter((event) => event.eventName === name);
  }

  /** Resolves as soon as there are `count` events; rejects when `timeoutMs` are over, 1000 by default. */
  waitForEvents(count: number, timeoutMs = 1000): Promise<DomainEvent[]> {
    return new Promise((resolve, reject) => {
      const end = () => {
        clearTimeout(timer);
        this.waiting.delete(check);
      };
      const check = () => {
        if (this.events.length < count) return;
        end();
        resolve([...this.events]);
      };
      const timer = setTimeout(() => {
        end();
        reject(new Error(`waited ${timeoutMs} ms for ${count} events, there are ${this.events.length}`));
      }, timeoutMs);
      this.waiting.add(check);
      check();
    });
  }

  /** Forgets the events. */
  clear(): void {
    this.events.length = 0;
  }

  /** Stops collecting. */
  stop(): void {
    this.stopListening?.();
    this.stopListening = null;
  }
}

function makeTask(): StepEventTask {
  return {
    taskUuid: TASK_UUID,
    namedTaskUuid: '00000000-0000-4000-8000-000000000004',
    name: 'test_task',
    namespace: 'default',
    version: '1.0.0',
    context: {},
    correlationId: TASK_UUID,
    complete: false,
    priority: 0,
    identityHash: '',
    createdAt: TIME,
    updatedAt: TIME,
    requestedAt: TIME,
  };
}

function makeWorkflowStep(): StepEventWorkflowStep {
  return {
    workflowStepUuid: STEP_UUID,
    taskUuid: TASK_UUID,
    namedStepUuid: '00000000-0000-4000-8000-000000000005',
    name: 'test_step',
    templateStepName: 'test_step',
    retryable: true,
    maxAttempts: 3,
    attempts: 0,
    inProcess: true,
    processed: false,
    createdAt: TIME,
    updatedAt: TIME,
  };
}

function makeDefinition(): StepEventDefinition {
  return {
    name: 'test_step',
    handlerCallable: 'test_handler',
    handlerInitialization: {},
    dependencies: [],
    retryRetryable: true,
    retryMaxAttempts: 3,
    retryBackoff: 'exponential',
  };
}
