/** The results of batch handlers as the engine and aggregators read them. */

import type {
  BatchAggregationScenario,
  BatchAnalyzerOutcome,
  BatchWorkerOutcome,
  CursorConfig,
  RustCursorConfig,
} from '../types/batch.js';
import { createBatches, noBatches, spanOf } from '../types/batch.js';
import { isObject, ownValue, unwrapResult } from '../types/values.js';
import type { JsonObject } from '../wire.js';

/**
 * What an aggregator finds: no batches, or every worker's result.
 *
 * @throws Error if the analyzer left no result, or asked for workers and none of them left one.
 */
export function detectAggregationScenario(
  dependencyResults: Record<string, unknown>,
  analyzerStep: string,
  workerPrefix: string,
): BatchAggregationScenario {
  const analyzed = unwrapResult(ownValue(dependencyResults, analyzerStep));
  if (analyzed === null) throw new Error(`Missing batchable step dependency: ${analyzerStep}`);
  const batchableResult = isObject(analyzed) ? analyzed : {};
  if (ownValue(batchableResult['batch_processing_outcome'], 'type') === 'no_batches') {
    return { isNoBatches: true, batchableResult, batchResults: {}, workerCount: 0 };
  }
  const workers = Object.keys(dependencyResults).filter((name) => name.startsWith(workerPrefix));
  if (workers.length === 0) throw new Error(`No batch workers found with prefix: ${workerPrefix}`);
  const batchResults = Object.fromEntries(
    workers.map((name) => [name, objectOf(unwrapResult(dependencyResults[name]))]),
  );
  return { isNoBatches: false, batchableResult, batchResults, workerCount: workers.length };
}

/** The result that tells the engine which batches to make. */
export function analyzerResult(outcome: BatchAnalyzerOutcome, workerTemplateName: string): JsonObject {
  const cursors = outcome.cursorConfigs.map(cursorToWire);
  if (cursors.length === 0) {
    return { batch_processing_outcome: noBatches(), reason: outcome.batchMetadata['reason'] ?? 'empty_dataset' };
  }
  const total = outcome.totalItems ?? cursors.reduce((sum, cursor) => sum + cursor.batch_size, 0);
  const batches = createBatches(workerTemplateName, cursors.length, cursors, total);
  return { batch_processing_outcome: batches, worker_count: cursors.length, total_items: total };
}

function cursorToWire(cursor: CursorConfig, index: number): RustCursorConfig {
  return {
    batch_id: batchId(index),
    start_cursor: cursor.startCursor,
    end_cursor: cursor.endCursor,
    batch_size: spanOf(cursor) ?? 0,
  };
}

/** How an analyzer divided the items, under the names of its mixin. */
export function analyzerOutcome(outcome: BatchAnalyzerOutcome): JsonObject {
  const cursors = outcome.cursorConfigs.map(({ startCursor, endCursor, stepSize, metadata }) => ({
    start_cursor: startCursor,
    end_cursor: endCursor,
    step_size: stepSize,
    metadata,
  }));
  return { cursor_configs: cursors, total_items: outcome.totalItems, batch_metadata: outcome.batchMetadata };
}

/** What a batch worker did. */
export function workerResult(outcome: BatchWorkerOutcome): JsonObject {
  return {
    items_processed: outcome.itemsProcessed,
    items_succeeded: outcome.itemsSucceeded,
    items_failed: outcome.itemsFailed,
    items_skipped: outcome.itemsSkipped,
    last_cursor: outcome.lastCursor ?? null,
    batch_metadata: outcome.batchMetadata,
    ...(outcome.results.length > 0 ? { results: outcome.results } : {}),
    ...(outcome.errors.length > 0 ? { errors: outcome.errors } : {}),
  };
}

/** The id of a batch: its number from 1, with three digits. */
export function batchId(index: number): string {
  return String(index + 1).padStart(3, '0');
}

function objectOf(value: unknown): JsonObject {
  return isObject(value) ? value : {};
}
