/** Batch handlers, beyond what the conformance vectors say. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  applyBatchable,
  BatchableMixin,
  BatchableStepHandler,
  createBatches,
  createBatchWorkerContext,
  defineBatchAnalyzer,
  defineBatchWorker,
  isCreateBatches,
  isNoBatches,
  noBatches,
  StepHandler,
} from '@tasker-systems/tasker';
import { makeContext, runHandler } from '@tasker-systems/tasker/testing';

const batchable = new BatchableMixin();
const CURSOR = { batch_id: '002', start_cursor: 100, end_cursor: 200, batch_size: 100 };

describe('an analyzer', () => {
  it('writes the outcome both as the engine and as the mixin names it', () => {
    const result = batchable.batchAnalyzerSuccess(batchable.createBatchOutcome(3, 2, 1, { source: 'csv' }), { m: 1 });
    assert.deepEqual(result.result, {
      batch_processing_outcome: {
        type: 'create_batches',
        worker_template_name: 'batch_worker',
        worker_count: 2,
        cursor_configs: [
          { batch_id: '001', start_cursor: 0, end_cursor: 2, batch_size: 2 },
          { batch_id: '002', start_cursor: 2, end_cursor: 3, batch_size: 1 },
        ],
        total_items: 3,
      },
      worker_count: 2,
      total_items: 3,
      batch_analyzer_outcome: {
        cursor_configs: [
          { start_cursor: 0, end_cursor: 2, step_size: 1, metadata: {} },
          { start_cursor: 2, end_cursor: 3, step_size: 1, metadata: {} },
        ],
        total_items: 3,
        batch_metadata: { source: 'csv' },
      },
    });
    assert.deepEqual(result.metadata, { m: 1, batch_analyzer: true });
  });

  it('as a function keeps its counts and metadata beside the result', async () => {
    const Analyze = defineBatchAnalyzer('analyze', { workerTemplate: 'w' }, () => ({
      totalItems: 250,
      batchSize: 100,
      metadata: { source: 'csv' },
    }));
    const result = await runHandler(Analyze, makeContext());
    assert.deepEqual(result.metadata, { batch_count: 3, total_items: 250, source: 'csv' });
  });

  it('may divide by the number of workers', () => {
    class Analyze extends BatchableStepHandler {
      static override handlerName = 'analyze';

      async call() {
        return this.batchSuccess('w', this.createCursorConfigs(3, 2), { source: 'csv' });
      }

      none() {
        return this.noBatchesResult('empty', { source: 'csv' });
      }
    }
    const none = new Analyze().none();
    assert.deepEqual(none.result, { batch_processing_outcome: { type: 'no_batches' }, source: 'csv', reason: 'empty' });
    assert.deepEqual(none.metadata, { source: 'csv' });
    return new Analyze().call().then(({ result }) => {
      const outcome = createBatches(
        'w',
        2,
        [
          { batch_id: '001', start_cursor: 0, end_cursor: 2, batch_size: 2 },
          { batch_id: '002', start_cursor: 2, end_cursor: 3, batch_size: 1 },
        ],
        3,
      );
      assert.deepEqual(result, { batch_processing_outcome: outcome, source: 'csv' });
    });
  });

  it('has one of two outcomes', () => {
    assert.deepEqual([isNoBatches(noBatches()), isCreateBatches(noBatches())], [true, false]);
    assert.equal(isCreateBatches(createBatches('w', 0, [], 0)), true);
  });
});

describe('a worker', () => {
  it('reads its batch from its inputs, or from batch_context', () => {
    const inputs = { cursor: CURSOR, batch_metadata: { cursor_field: 'id' } };
    const context = batchable.getBatchContext(makeContext({ stepInputs: inputs }));
    assert.deepEqual(context?.cursor, { startCursor: 100, endCursor: 200, stepSize: 100, metadata: {} });
    assert.deepEqual(
      [context?.batchId, context?.batchSize, context?.batchIndex, context?.totalBatches],
      ['002', 100, 0, 1],
    );
    assert.deepEqual(context?.batchMetadata, { cursor_field: 'id' });
    for (const place of ['stepConfig', 'inputData', 'stepInputs']) {
      const data = { batch_context: { batch_id: 'x', start_cursor: 1, end_cursor: 3, batch_index: 4 } };
      const found = batchable.getBatchWorkerContext(makeContext({ [place]: data }));
      assert.deepEqual([found?.batchId, found?.startCursor, found?.endCursor, found?.batchIndex], ['x', 1, 3, 4]);
    }
    assert.equal(batchable.getBatchContext(makeContext()), null);
    assert.equal(batchable.getBatchWorkerInputs(makeContext()), null);
  });

  it('goes on from its checkpoint', () => {
    const checkpoint = { cursor: 150, items_processed: 50, accumulated_results: { sum: 7 } };
    const context = batchable.getBatchContext(makeContext({ stepInputs: { cursor: CURSOR }, checkpoint }));
    assert.equal(context?.hasCheckpoint(), true);
    assert.deepEqual([context?.checkpointCursor, context?.checkpointItemsProcessed], [150, 50]);
    assert.deepEqual(context?.accumulatedResults, { sum: 7 });
  });

  it('gets cursors that are no numbers as they are', () => {
    const cursor = { batch_id: '001', start_cursor: '2030-01-01', end_cursor: '2030-02-01', batch_size: 31 };
    const context = createBatchWorkerContext({ cursor_config: cursor });
    assert.deepEqual([context.startCursor, context.endCursor, context.batchSize], ['2030-01-01', '2030-02-01', 31]);
  });

  it('has defaults for what its data lacks', () => {
    const { batchId, startCursor, endCursor, stepSize, hasCheckpoint } = createBatchWorkerContext({});
    assert.deepEqual([batchId, startCursor, endCursor, stepSize, hasCheckpoint()], ['', 0, 0, 1, false]);
  });

  it('reports its counts flat, and under the name of the mixin', () => {
    const outcome = batchable.createWorkerOutcome(10, 0, 2, 1, [{ sum: 3 }], [{ row: 4 }], 99, { a: 1 });
    const { result, metadata } = batchable.batchWorkerSuccess(outcome);
    const counts = {
      items_processed: 10,
      items_succeeded: 7,
      items_failed: 2,
      items_skipped: 1,
      last_cursor: 99,
      batch_metadata: { a: 1 },
      results: [{ sum: 3 }],
      errors: [{ row: 4 }],
    };
    assert.deepEqual(result, { ...counts, batch_worker_outcome: counts });
    assert.deepEqual(metadata, { batch_worker: true });
    assert.equal(batchable.createWorkerOutcome(10).itemsSucceeded, 10);
  });

  it('saves its progress with three arguments or with one', () => {
    const result = { type: 'checkpoint_yield', cursor: 50, items_processed: 50, accumulated_results: { sum: 1 } };
    const one = { cursor: 50, itemsProcessed: 50, accumulatedResults: { sum: 1 } };
    assert.deepEqual(batchable.checkpointYield(50, 50, { sum: 1 }).result, result);
    assert.deepEqual(batchable.checkpointYield(one).result, result);
    assert.deepEqual(batchable.checkpointYield(one).metadata, { checkpoint_yield: true, batch_worker: true });
    const { accumulated_results: _, ...bare } = { ...result, cursor: { page: 2 }, items_processed: 1 };
    assert.deepEqual(batchable.checkpointYield({ page: 2 }, 1).result, bare);
  });

  it('as a function gets its batch', async () => {
    const Work = defineBatchWorker('work', {}, ({ batchContext }) => ({ end: batchContext?.endCursor ?? null }));
    assert.deepEqual((await runHandler(Work, makeContext({ stepInputs: { cursor: CURSOR } }))).result, { end: 200 });
    assert.deepEqual((await runHandler(Work, makeContext())).result, { end: null });
  });

  it('may be any class that the methods are applied to', async () => {
    class Applied extends StepHandler {
      static override handlerName = 'applied';
      private readonly batch = applyBatchable(this);

      async call() {
        return this.batch.batchWorkerSuccess(this.batch.createWorkerOutcome(3));
      }
    }
    assert.equal((await new Applied().call()).result?.['items_processed'], 3);
  });

  it('may override a method of its base class', async () => {
    class Counts extends BatchableStepHandler {
      static override handlerName = 'counts';

      override createWorkerOutcome(itemsProcessed: number) {
        return { ...super.createWorkerOutcome(itemsProcessed), itemsSkipped: 1 };
      }

      async call() {
        return this.batchWorkerSuccess(this.createWorkerOutcome(3));
      }
    }
    assert.equal((await new Counts().call()).result?.['items_skipped'], 1);
  });
});

describe('an aggregator', () => {
  const deps = {
    analyze: { result: { batch_processing_outcome: { type: 'create_batches' } } },
    p_001: { result: { items_processed: 2 } },
    p_002: { result: { items_processed: 3 } },
  };

  it('makes a result of what its workers did', () => {
    const scenario = batchable.detectAggregationScenario(deps, 'analyze', 'p_');
    const sum = (results: Record<string, Record<string, unknown>>) => {
      const { total_processed: total } = BatchableMixin.aggregateWorkerResults(Object.values(results));
      return { total };
    };
    assert.deepEqual(batchable.aggregateBatchWorkerResults(scenario, {}, sum).result, {
      total: 5,
      worker_count: 2,
      scenario: 'with_batches',
    });
    assert.deepEqual(batchable.aggregateBatchWorkerResults(scenario).result?.['batch_results'], {
      p_001: { items_processed: 2 },
      p_002: { items_processed: 3 },
    });
  });

  it('makes one of zeros if there were no batches', () => {
    const none = { analyze: { result: { batch_processing_outcome: { type: 'no_batches' } } } };
    const scenario = batchable.detectAggregationScenario(none, 'analyze', 'p_');
    const { result } = batchable.aggregateBatchWorkerResults(scenario, { total: 0 });
    assert.deepEqual(result, { worker_count: 0, scenario: 'no_batches', total: 0 });
  });
});
