import type { JsonObject, Nullable, WireCheckpoint } from '../wire.js';
import { isObject, ownValue } from './values.js';

/** What happens to a batch's other workers when one fails. */
export type FailureStrategy = 'continue_on_failure' | 'fail_fast' | 'isolate';

/** A range of items; the end is exclusive. */
export interface CursorConfig {
  startCursor: number;
  endCursor: number;
  stepSize: number;
  metadata: JsonObject;
}

/** A range of items as the engine passes it to batch workers; cursors may be any JSON. */
export interface RustCursorConfig {
  batch_id: string;
  start_cursor: unknown;
  end_cursor: unknown;
  batch_size: number;
}

/** How the engine made a batch. */
export interface BatchMetadata {
  cursor_field: string;
  failure_strategy: FailureStrategy;
}

/** The inputs of a batch worker's step. */
export interface RustBatchWorkerInputs {
  cursor: RustCursorConfig;
  batch_metadata: BatchMetadata;
  /** Whether this is the placeholder of an empty batch. */
  is_no_op: boolean;
}

/** One worker's share when items are divided by the number of workers. */
export interface BatchWorkerConfig {
  batch_id: string;
  cursor_start: number;
  /** Exclusive. */
  cursor_end: number;
  row_count: number;
  /** From 0. */
  worker_index: number;
  /** The number asked for, even if the items ran out before. */
  total_workers: number;
  metadata?: JsonObject;
}

/** How an analyzer divided the items. */
export interface BatchAnalyzerOutcome {
  cursorConfigs: CursorConfig[];
  totalItems: number | null;
  batchMetadata: JsonObject;
}

/** What a batch worker did. */
export interface BatchWorkerOutcome {
  itemsProcessed: number;
  itemsSucceeded: number;
  itemsFailed: number;
  itemsSkipped: number;
  results: unknown[];
  errors: unknown[];
  lastCursor: unknown;
  batchMetadata: JsonObject;
}

/** What a batch worker has to do. */
export interface BatchWorkerContext {
  batchId: string;
  cursorConfig: CursorConfig;
  /** The same as `cursorConfig`. */
  cursor: CursorConfig;
  startCursor: number;
  /** Exclusive. */
  endCursor: number;
  stepSize: number;
  /** Items in this batch. */
  batchSize: number;
  /** From 0. */
  batchIndex: number;
  totalBatches: number;
  batchMetadata: JsonObject;
  /** Progress that an earlier run of this batch saved, null if there is none. */
  checkpoint: WireCheckpoint | null;
  checkpointCursor: unknown;
  checkpointItemsProcessed: number;
  accumulatedResults: unknown;
  hasCheckpoint: () => boolean;
}

/** An analyzer's answer: nothing to do. */
export interface NoBatchesOutcome {
  type: 'no_batches';
}

/** An analyzer's answer: one worker step a cursor. */
export interface CreateBatchesOutcome {
  type: 'create_batches';
  /** The template's batch worker step. */
  worker_template_name: string;
  worker_count: number;
  cursor_configs: RustCursorConfig[];
  total_items: number;
}

/** An analyzer's answer, in its result under `batch_processing_outcome`. */
export type BatchProcessingOutcome = NoBatchesOutcome | CreateBatchesOutcome;

/** Sums over the results of batch workers. */
export interface BatchAggregationResult {
  total_processed: number;
  total_succeeded: number;
  total_failed: number;
  total_skipped: number;
  batch_count: number;
  /** From 0 to 1; 0 if nothing was processed. */
  success_rate: number;
  /** The first errors. */
  errors: unknown[];
  /** The number of all errors. */
  error_count: number;
}

/** What an aggregator finds: either no batches at all, or every worker's result by step name. */
export interface BatchAggregationScenario {
  isNoBatches: boolean;
  /** The analyzer's result. */
  batchableResult: JsonObject;
  batchResults: Record<string, JsonObject>;
  workerCount: number;
}

/** The answer of an analyzer that has nothing to divide. */
export function noBatches(): NoBatchesOutcome {
  return { type: 'no_batches' };
}

/**
 * The answer of an analyzer that asks for batch workers.
 *
 * @throws Error if the number of cursors is not the number of workers.
 */
export function createBatches(
  workerTemplateName: string,
  workerCount: number,
  cursorConfigs: RustCursorConfig[],
  totalItems: number,
): CreateBatchesOutcome {
  if (cursorConfigs.length !== workerCount) {
    throw new Error(`cursor_configs has ${cursorConfigs.length} entries, but worker_count is ${workerCount}`);
  }
  return {
    type: 'create_batches',
    worker_template_name: workerTemplateName,
    worker_count: workerCount,
    cursor_configs: cursorConfigs,
    total_items: totalItems,
  };
}

/** Whether an analyzer has nothing to divide. */
export function isNoBatches(outcome: BatchProcessingOutcome): outcome is NoBatchesOutcome {
  return outcome.type === 'no_batches';
}

/** Whether an analyzer asks for batch workers. */
export function isCreateBatches(outcome: BatchProcessingOutcome): outcome is CreateBatchesOutcome {
  return outcome.type === 'create_batches';
}

/** Adds up the results of batch workers; null entries are ignored, and at most `maxErrors` errors are kept. */
export function aggregateBatchResults(results: readonly Nullable<object>[], maxErrors = 100): BatchAggregationResult {
  const present = results.filter(isObject);
  const sum = (key: string) => present.reduce((total, each) => total + numberOr(each[key], 0), 0);
  const errors = present.flatMap((each) => (Array.isArray(each['errors']) ? (each['errors'] as unknown[]) : []));
  const processed = sum('items_processed');
  const succeeded = sum('items_succeeded');
  return {
    total_processed: processed,
    total_succeeded: succeeded,
    total_failed: sum('items_failed'),
    total_skipped: sum('items_skipped'),
    batch_count: present.length,
    success_rate: processed > 0 ? succeeded / processed : 0,
    errors: errors.slice(0, maxErrors),
    error_count: errors.length,
  };
}

/** A batch worker's context from its data, whose cursor is nested in `cursor_config` or beside the other keys. */
export function createBatchWorkerContext(
  batchData: JsonObject,
  checkpoint: Nullable<WireCheckpoint> = null,
): BatchWorkerContext {
  const nested = ownValue(batchData, 'cursor_config');
  const cursor = isObject(nested) ? nested : batchData;
  const metadata = ownValue(cursor, 'metadata');
  const batchMetadata = ownValue(batchData, 'batch_metadata');
  const cursorConfig: CursorConfig = {
    // Cursors of an application's own, such as dates, pass through as they are.
    startCursor: (cursor['start_cursor'] ?? 0) as number,
    endCursor: (cursor['end_cursor'] ?? 0) as number,
    stepSize: numberOr(cursor['step_size'] ?? cursor['batch_size'], 1),
    metadata: isObject(metadata) ? metadata : {},
  };
  const checkpointCursor = checkpoint?.cursor ?? null;
  return {
    batchId: String(batchData['batch_id'] ?? cursor['batch_id'] ?? ''),
    cursorConfig,
    cursor: cursorConfig,
    startCursor: cursorConfig.startCursor,
    endCursor: cursorConfig.endCursor,
    stepSize: cursorConfig.stepSize,
    batchSize: spanOf(cursorConfig) ?? numberOr(cursor['batch_size'], 0),
    batchIndex: numberOr(batchData['batch_index'], 0),
    totalBatches: numberOr(batchData['total_batches'], 1),
    batchMetadata: isObject(batchMetadata) ? batchMetadata : {},
    checkpoint: checkpoint ?? null,
    checkpointCursor,
    checkpointItemsProcessed: checkpoint?.items_processed ?? 0,
    accumulatedResults: checkpoint?.accumulated_results ?? null,
    hasCheckpoint: () => checkpointCursor !== null,
  };
}

/** The number of items in a range, null if its cursors are no numbers. */
export function spanOf({ startCursor, endCursor }: CursorConfig): number | null {
  return typeof startCursor === 'number' && typeof endCursor === 'number' ? endCursor - startCursor : null;
}

function numberOr(value: unknown, otherwise: number): number {
  return typeof value === 'number' ? value : otherwise;
}
