import { logWarn } from '../logging/index.js';
import type { FfiStepEvent } from '../types/step-event.js';
import type { StepHandlerResult } from '../types/step-handler-result.js';
import type { WireEventDeclaration } from '../wire.js';
import { conditionHolds } from './matching.js';
import { PublisherRegistry } from './publisher-registry.js';
import type { EventCondition, EventDeclaration } from './types.js';
import { createStepEventContext } from './types.js';

/**
 * Publishes the events that a step's definition declares for how it ended. That is before the result is recorded, so
 * an attempt that is repeated publishes again.
 */
export function publishDeclaredEvents(
  declarations: readonly WireEventDeclaration[],
  event: FfiStepEvent,
  result: StepHandlerResult,
): void {
  for (const declaration of declarations.map(declarationOf)) {
    if (!conditionHolds(declaration.condition, result)) continue;
    try {
      publish(declaration, event, result);
    } catch (error) {
      logWarn('event_not_published', { event_name: declaration.name, error: String(error) });
    }
  }
}

function publish(eventDeclaration: EventDeclaration, event: FfiStepEvent, stepResult: StepHandlerResult): void {
  const stepContext = createStepEventContext({
    taskUuid: event.taskUuid,
    stepUuid: event.stepUuid,
    stepName: event.workflowStep.name,
    namespace: event.task.namespace,
    correlationId: event.correlationId,
    result: stepResult.result,
  });
  const publisher = PublisherRegistry.instance.getOrDefault(eventDeclaration.publisher);
  publisher.publish({ eventName: eventDeclaration.name, stepResult, eventDeclaration, stepContext });
}

function declarationOf(wire: WireEventDeclaration): EventDeclaration {
  return {
    name: wire.name ?? '',
    ...(wire.condition ? { condition: wire.condition as EventCondition } : {}),
    ...(wire.delivery_mode
      ? { deliveryMode: wire.delivery_mode as NonNullable<EventDeclaration['deliveryMode']> }
      : {}),
    ...(wire.publisher ? { publisher: wire.publisher } : {}),
    ...(wire.schema ? { schema: wire.schema } : {}),
  };
}
