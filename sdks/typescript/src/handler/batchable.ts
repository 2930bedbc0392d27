import type {
  BatchAggregationResult,
  BatchAggregationScenario,
  BatchAnalyzerOutcome,
  BatchWorkerConfig,
  BatchWorkerContext,
  BatchWorkerOutcome,
  CursorConfig,
  RustBatchWorkerInputs,
} from '../types/batch.js';
import { aggregateBatchResults, createBatches, createBatchWorkerContext, noBatches } from '../types/batch.js';
import type { StepContext } from '../types/step-context.js';
import { StepHandlerResult } from '../types/step-handler-result.js';
import { isObject, ownValue } from '../types/values.js';
import type { JsonObject, Nullable } from '../wire.js';
import { analyzerOutcome, analyzerResult, batchId, detectAggregationScenario, workerResult } from './batch-results.js';
import { StepHandler } from './step-handler.js';

/** The result of batch handlers. */
export type BatchableResult = StepHandlerResult;

/** If the template has no step of this name, the engine takes the batch worker step that it finds there. */
export const DEFAULT_WORKER_TEMPLATE = 'batch_worker';

/** Progress to save, as one argument. */
export interface Checkpoint {
  /** Where to go on, any JSON. */
  cursor: unknown;
  /** Counted from the beginning of the batch. */
  itemsProcessed: number;
  accumulatedResults?: unknown;
}

/** Makes the result of an aggregator out of its workers' results. */
export type AggregationFn = (batchResults: Record<string, JsonObject>) => JsonObject;

/** Helpers for the three roles of a batch: analyzer, worker and aggregator. */
export class BatchableMixin {
  /** One range of items; `end` is exclusive. */
  createCursorConfig(start: number, end: number, stepSize = 1, metadata: JsonObject = {}): CursorConfig {
    return { startCursor: start, endCursor: end, stepSize, metadata };
  }

  /**
   * Divides items into batches of `batchSize`, the last one perhaps shorter; into larger ones if that makes more than
   * `maxBatches`.
   *
   * @throws Error if `batchSize` is not positive.
   */
  createCursorRanges(totalItems: number, batchSize: number, stepSize = 1, maxBatches?: number | null): CursorConfig[] {
    if (totalItems <= 0) return [];
    if (batchSize <= 0) throw new Error('batchSize must be > 0');
    const isTooMany = Boolean(maxBatches && maxBatches > 0 && Math.ceil(totalItems / batchSize) > maxBatches);
    const size = isTooMany ? Math.ceil(totalItems / Number(maxBatches)) : batchSize;
    return startsOf(totalItems, size).map((start) =>
      this.createCursorConfig(start, Math.min(start + size, totalItems), stepSize),
    );
  }

  /**
   * Divides items among at most `workerCount` workers.
   *
   * @throws Error if `workerCount` is not positive.
   */
  createCursorConfigs(totalItems: number, workerCount: number): BatchWorkerConfig[] {
    if (workerCount <= 0) throw new Error('workerCount must be > 0');
    const share = Math.ceil(Math.max(totalItems, 0) / workerCount);
    return startsOf(totalItems, share).map((start, index) => {
      const end = Math.min(start + share, totalItems);
      return {
        batch_id: batchId(index),
        cursor_start: start,
        cursor_end: end,
        row_count: end - start,
        worker_index: index,
        total_workers: workerCount,
      };
    });
  }

  /** Divides items as {@link createCursorRanges} does, for {@link batchAnalyzerSuccess}. */
  createBatchOutcome(
    totalItems: number,
    batchSize: number,
    stepSize = 1,
    batchMetadata: JsonObject = {},
  ): BatchAnalyzerOutcome {
    return { cursorConfigs: this.createCursorRanges(totalItems, batchSize, stepSize), totalItems, batchMetadata };
  }

  /** Asks for one worker step a range; for none if there are no ranges. The name is that of the template's batch worker. */
  batchAnalyzerSuccess(
    outcome: BatchAnalyzerOutcome,
    metadata: JsonObject = {},
    workerTemplateName = DEFAULT_WORKER_TEMPLATE,
  ): StepHandlerResult {
    const marks = { ...metadata, batch_analyzer: true };
    const result = analyzerResult(outcome, workerTemplateName);
    return StepHandlerResult.success({ ...result, batch_analyzer_outcome: analyzerOutcome(outcome) }, marks);
  }

  /** What this step has to process, null if it is no batch worker. */
  getBatchContext(context: StepContext): BatchWorkerContext | null {
    const { stepInputs } = context;
    const cursor = ownValue(stepInputs, 'cursor');
    if (isObject(cursor)) {
      const data = { cursor_config: cursor, batch_metadata: ownValue(stepInputs, 'batch_metadata') };
      return createBatchWorkerContext(data, context.checkpoint);
    }
    for (const place of [context.stepConfig, context.inputData, stepInputs]) {
      const data = ownValue(place, 'batch_context');
      if (isObject(data)) return createBatchWorkerContext(data, context.checkpoint);
    }
    return null;
  }

  /** The same as {@link getBatchContext}. */
  getBatchWorkerContext(context: StepContext): BatchWorkerContext | null {
    return this.getBatchContext(context);
  }

  /** The step's inputs as the engine wrote them, null if there are none. */
  getBatchWorkerInputs(context: StepContext): Partial<RustBatchWorkerInputs> | null {
    return Object.keys(context.stepInputs).length > 0 ? (context.stepInputs as Partial<RustBatchWorkerInputs>) : null;
  }

  /** The result of the placeholder worker of an empty batch, null for a worker that has work to do. */
  handleNoOpWorker(context: StepContext): StepHandlerResult | null {
    const inputs = this.getBatchWorkerInputs(context);
    if (inputs?.is_no_op !== true) return null;
    return StepHandlerResult.success({
      batch_id: inputs.cursor?.batch_id || 'no_op',
      no_op: true,
      processed_count: 0,
      message: 'No batches to process',
      processed_at: new Date().toISOString(),
    });
  }

  /** What a worker did; items that neither failed nor were skipped succeeded, unless another number is given. */
  createWorkerOutcome(
    itemsProcessed: number,
    itemsSucceeded = 0,
    itemsFailed = 0,
    itemsSkipped = 0,
    results: unknown[] = [],
    errors: unknown[] = [],
    lastCursor: unknown = null,
    batchMetadata: JsonObject = {},
  ): BatchWorkerOutcome {
    return {
      itemsProcessed,
      itemsSucceeded: itemsSucceeded || Math.max(0, itemsProcessed - itemsFailed - itemsSkipped),
      itemsFailed,
      itemsSkipped,
      results,
      errors,
      lastCursor,
      batchMetadata,
    };
  }

  /** Reports a processed batch. */
  batchWorkerSuccess(outcome: BatchWorkerOutcome, metadata: JsonObject = {}): StepHandlerResult {
    const counts = workerResult(outcome);
    return StepHandlerResult.success({ ...counts, batch_worker_outcome: counts }, { ...metadata, batch_worker: true });
  }

  /**
   * Saves how far the step got and has it run again from there; the handler must return this. The new run is no new
   * attempt, and finds everything in its context's `checkpoint`.
   *
   * @param cursor - where to go on, any JSON; or all three as one object.
   * @param itemsProcessed - counted from the beginning of the batch.
   */
  checkpointYield(cursor: unknown, itemsProcessed?: number, accumulatedResults?: unknown): StepHandlerResult {
    const given: Checkpoint =
      itemsProcessed === undefined && isCheckpoint(cursor)
        ? cursor
        : { cursor, itemsProcessed: itemsProcessed ?? 0, accumulatedResults };
    const result = {
      type: 'checkpoint_yield',
      cursor: given.cursor ?? null,
      items_processed: given.itemsProcessed,
      ...(given.accumulatedResults === undefined ? {} : { accumulated_results: given.accumulatedResults }),
    };
    return StepHandlerResult.success(result, { checkpoint_yield: true, batch_worker: true });
  }

  /** See {@link detectAggregationScenario}. */
  detectAggregationScenario(
    dependencyResults: Record<string, unknown>,
    analyzerStep: string,
    workerPrefix: string,
  ): BatchAggregationScenario {
    return detectAggregationScenario(dependencyResults, analyzerStep, workerPrefix);
  }

  /** The aggregator's result if no batches ran; `zeroMetrics` are its sums in that case. */
  noBatchesAggregationResult(zeroMetrics: JsonObject = {}): StepHandlerResult {
    return StepHandlerResult.success({ worker_count: 0, scenario: 'no_batches', ...zeroMetrics });
  }

  /** The aggregator's result: what the function makes of its workers' results, else these under `batch_results`. */
  aggregateBatchWorkerResults(
    scenario: BatchAggregationScenario,
    zeroMetrics: JsonObject = {},
    aggregate: AggregationFn = (batchResults) => ({ batch_results: batchResults }),
  ): StepHandlerResult {
    if (scenario.isNoBatches) return this.noBatchesAggregationResult(zeroMetrics);
    const marks = { worker_count: scenario.workerCount, scenario: 'with_batches' };
    return StepHandlerResult.success({ ...aggregate(scenario.batchResults), ...marks });
  }

  /** The same as `aggregateBatchResults`. */
  static aggregateWorkerResults(results: readonly Nullable<object>[], maxErrors?: number): BatchAggregationResult {
    return aggregateBatchResults(results, maxErrors);
  }
}

/** The helpers of batch handlers. */
export interface Batchable extends BatchableMixin {}

const BATCH_METHODS = Object.getOwnPropertyNames(BatchableMixin.prototype).filter((name) => name !== 'constructor');

/** Gives an object the methods of {@link Batchable}. */
export function applyBatchable<T extends object>(target: T): T & Batchable {
  const mixin = new BatchableMixin() as unknown as Record<string, (...args: unknown[]) => unknown>;
  const methods = Object.fromEntries(BATCH_METHODS.map((name) => [name, mixin[name]?.bind(mixin)]));
  return Object.assign(target, methods) as T & Batchable;
}

/** The methods of {@link Batchable}, which the class has as well. */
export interface BatchableStepHandler extends Batchable {}

/** The base of batch handlers, with all methods of {@link Batchable}. */
// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: the methods are mixed in below
export abstract class BatchableStepHandler extends StepHandler {
  override get capabilities(): string[] {
    return ['process', 'batchable'];
  }

  /** Asks for one worker step a config; `metadata` becomes part of the result as well. */
  protected batchSuccess(
    workerTemplateName: string,
    configs: BatchWorkerConfig[],
    metadata: JsonObject = {},
  ): StepHandlerResult {
    const cursors = configs.map(({ batch_id, cursor_start, cursor_end, row_count }) => ({
      batch_id,
      start_cursor: cursor_start,
      end_cursor: cursor_end,
      batch_size: row_count,
    }));
    const total = configs.reduce((sum, config) => sum + config.row_count, 0);
    const outcome = createBatches(workerTemplateName, cursors.length, cursors, total);
    return this.success({ batch_processing_outcome: outcome, ...metadata }, { ...metadata });
  }

  /** Asks for no worker step; `metadata` becomes part of the result as well. */
  protected noBatchesResult(reason?: string, metadata: JsonObject = {}): StepHandlerResult {
    const outcome = { batch_processing_outcome: noBatches(), ...metadata, ...(reason ? { reason } : {}) };
    return this.success(outcome, { ...metadata });
  }
}

// On the prototype, so that a subclass can override them.
for (const name of BATCH_METHODS) {
  const method = Object.getOwnPropertyDescriptor(BatchableMixin.prototype, name);
  if (method) Object.defineProperty(BatchableStepHandler.prototype, name, method);
}

function isCheckpoint(value: unknown): value is Checkpoint {
  return isObject(value) && 'cursor' in value && typeof value['itemsProcessed'] === 'number';
}

function startsOf(totalItems: number, size: number): number[] {
  return totalItems > 0 ? Array.from({ length: Math.ceil(totalItems / size) }, (_, index) => index * size) : [];
}
