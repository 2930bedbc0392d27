import { logWarn } from '../logging/index.js';
import type { JsonObject } from '../wire.js';
import { emitDomainEvent } from './bus.js';
import type { EventDeclaration, PublishContext, StepEventContext, StepResult } from './types.js';
import { createDomainEvent } from './types.js';

/** The base of publishers, which make events of steps' results; all methods but the name have a default. */
export abstract class BasePublisher {
  /** The name by which templates ask for this publisher. */
  abstract readonly publisherName: string;

  /** The event's payload; the step's result by default. */
  transformPayload(stepResult: StepResult, _declaration?: EventDeclaration, _context?: StepEventContext): JsonObject {
    return stepResult.result ?? {};
  }

  /** Whether to publish at all; true by default. */
  shouldPublish(_stepResult: StepResult, _declaration?: EventDeclaration, _context?: StepEventContext): boolean {
    return true;
  }

  /** What to add to the event's metadata; nothing by default. */
  additionalMetadata(
    _stepResult: StepResult,
    _declaration?: EventDeclaration,
    _context?: StepEventContext,
  ): JsonObject {
    return {};
  }

  /** Called before; false keeps the event from being published. */
  beforePublish(_eventName: string, _payload: JsonObject, _metadata: JsonObject): boolean {
    return true;
  }

  /** Called after. */
  afterPublish(_eventName: string, _payload: JsonObject, _metadata: JsonObject): void {}

  /** Called with what any other method threw; logs it by default. */
  onPublishError(eventName: string, error: Error, _payload: JsonObject): void {
    logWarn('event_not_published', { event_name: eventName, publisher: this.publisherName, error: error.message });
  }

  /** Publishes an event to the subscribers in this process; false if that was declined, or a method threw. */
  publish(context: PublishContext): boolean {
    const { eventName, stepResult, eventDeclaration, stepContext } = context;
    let payload: JsonObject = {};
    try {
      if (!this.shouldPublish(stepResult, eventDeclaration, stepContext)) return false;
      payload = this.transformPayload(stepResult, eventDeclaration, stepContext);
      const metadata = {
        ...this.baseMetadata(stepContext),
        ...this.additionalMetadata(stepResult, eventDeclaration, stepContext),
      };
      if (!this.beforePublish(eventName, payload, metadata)) return false;
      emitDomainEvent(createDomainEvent({ eventName, payload, stepResult, stepContext, metadata }));
      this.afterPublish(eventName, payload, metadata);
      return true;
    } catch (error) {
      this.onPublishError(eventName, error instanceof Error ? error : new Error(String(error)), payload);
      return false;
    }
  }

  private baseMetadata(context: StepEventContext | undefined): JsonObject {
    const own = { publisher: this.publisherName, publishedAt: new Date().toISOString() };
    if (context === undefined) return own;
    const { taskUuid, stepUuid, stepName, namespace } = context;
    return { ...own, taskUuid, stepUuid, stepName, namespace };
  }
}

/** Publishes results as they are. */
export class DefaultPublisher extends BasePublisher {
  readonly publisherName: string = 'default';
}
