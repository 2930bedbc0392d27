export type {
  BatchAggregationResult,
  BatchAggregationScenario,
  BatchAnalyzerOutcome,
  BatchMetadata,
  BatchProcessingOutcome,
  BatchWorkerConfig,
  BatchWorkerContext,
  BatchWorkerOutcome,
  CreateBatchesOutcome,
  CursorConfig,
  FailureStrategy,
  NoBatchesOutcome,
  RustBatchWorkerInputs,
  RustCursorConfig,
} from './batch.js';
export {
  aggregateBatchResults,
  createBatches,
  createBatchWorkerContext,
  isCreateBatches,
  isNoBatches,
  noBatches,
} from './batch.js';
export { ErrorType, isStandardErrorType, isTypicallyRetryable } from './error-type.js';
export type { StepContextParams } from './step-context.js';
export { StepContext } from './step-context.js';
export type {
  FfiStepEvent,
  StepEventCheckpoint,
  StepEventDefinition,
  StepEventDependencyResult,
  StepEventTask,
  StepEventWorkflowStep,
} from './step-event.js';
export type { BackoffHint, OrchestrationMetadata, StepHandlerResultParams } from './step-handler-result.js';
export { StepHandlerResult } from './step-handler-result.js';
