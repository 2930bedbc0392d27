/** What the package exports. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as tasker from '@tasker-systems/tasker';
import * as events from '@tasker-systems/tasker/events';
import * as testing from '@tasker-systems/tasker/testing';

const VALUES = `
  StepHandler ApiHandler ApiResponse DecisionHandler DecisionType BatchableMixin applyBatchable APIMixin
  applyAPI DecisionMixin applyDecision HandlerRegistry HandlerSystem BatchableStepHandler DecisionStepHandler
  detectAggregationScenario defineHandler defineDecisionHandler defineBatchAnalyzer defineBatchWorker
  defineApiHandler Decision PermanentError RetryableError ErrorType isStandardErrorType isTypicallyRetryable
  StepContext StepHandlerResult noBatches createBatches isNoBatches isCreateBatches aggregateBatchResults
  createBatchWorkerContext ResolverChain ExplicitMappingResolver ClassLookupResolver RegistryResolver
  MethodDispatchWrapper effectiveMethod fromCallable fromDto hasResolverHint normalizeToDefinition
  usesMethodDispatch ResolutionError ResolverNotFoundError NoResolverMatchError MethodDispatchError
  BasePublisher DefaultPublisher BaseSubscriber PublisherRegistry SubscriberRegistry
  InProcessDomainEventPoller createStepEventContext createDomainEvent ffiEventToDomainEvent
  createFfiPollAdapter PublisherNotFoundError PublisherValidationError RegistryFrozenError
  DuplicatePublisherError TaskerEventEmitter EventNames StepEventNames WorkerEventNames PollerEventNames
  MetricsEventNames EventPoller createEventPoller EventSystem WorkerServer ShutdownController
  StepExecutionSubscriber createWorkerServer ServerStates bootstrapWorker getWorkerStatus healthCheck
  isWorkerRunning stopWorker transitionToGracefulShutdown getVersion getRustVersion TaskerClient
  TaskerClientError getTaskerClient createLogger logError logWarn logInfo logDebug logTrace
`;

const TESTING = 'EventCapture MockEventPublisher makeContext makeStepEvent runHandler stripVolatile toWireResult';

const EVENTS = `
  EventNames EventPoller EventSystem MetricsEventNames PollerEventNames StepEventNames TaskerEventEmitter
  WorkerEventNames createEventPoller
`;

function namesIn(text: string): string[] {
  return text.trim().split(/\s+/);
}

describe('the package', () => {
  for (const name of namesIn(VALUES)) {
    it(`exports ${name}`, () => assert.notEqual((tasker as Record<string, unknown>)[name], undefined));
  }

  it('exports the test helpers from ./testing', () => {
    assert.deepEqual(Object.keys(testing).sort(), namesIn(TESTING));
  });

  it('exports the same events from ./events as from its root', () => {
    for (const name of namesIn(EVENTS)) {
      const value = (events as Record<string, unknown>)[name];
      assert.notEqual(value, undefined, name);
      assert.equal(value, (tasker as Record<string, unknown>)[name], name);
    }
  });
});
