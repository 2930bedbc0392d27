export type { APICapable, QueryParams, RequestBody, RequestOptions } from './api.js';
export { APIMixin, ApiHandler, applyAPI } from './api.js';
export { ApiResponse } from './api-response.js';
export { detectAggregationScenario } from './batch-results.js';
export type { AggregationFn, Batchable, BatchableResult, Checkpoint } from './batchable.js';
export { applyBatchable, BatchableMixin, BatchableStepHandler } from './batchable.js';
export type { DecisionCapable, DecisionPointOutcome } from './decision.js';
export {
  applyDecision,
  DecisionHandler,
  DecisionHandler as DecisionStepHandler,
  DecisionMixin,
  DecisionType,
} from './decision.js';
export { PermanentError, RetryableError } from './errors.js';
export type { ExecutableHandler, StepHandlerClass } from './step-handler.js';
export { StepHandler } from './step-handler.js';
