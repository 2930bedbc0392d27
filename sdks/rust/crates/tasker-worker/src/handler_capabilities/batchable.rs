//! Results of analyzers and batch workers.

use serde_json::{json, Value};
use tasker_shared::messaging::{BatchProcessingOutcome, CursorConfig, StepExecutionResult};
use uuid::Uuid;

/// For handlers of `batchable` and `batch_worker` steps.
pub trait BatchableCapable {
    /// Divides `total_items` evenly among at most `worker_count` workers; nothing for 0 of either.
    fn create_cursor_configs(&self, total_items: u64, worker_count: u32) -> Vec<CursorConfig> {
        match worker_count {
            0 => Vec::new(),
            count => divided(total_items, total_items.div_ceil(u64::from(count))),
        }
    }

    /// Divides `total_items` into batches of `batch_size`, the last one perhaps shorter. If that makes more than
    /// `max_batches`, the batches get larger. Nothing for 0 items or a size of 0.
    fn create_cursor_ranges(&self, total_items: u64, batch_size: u64, max_batches: Option<u32>) -> Vec<CursorConfig> {
        if batch_size == 0 {
            return Vec::new();
        }
        let smallest = match max_batches {
            None | Some(0) => 0,
            Some(most) => total_items.div_ceil(u64::from(most)),
        };
        divided(total_items, batch_size.max(smallest))
    }

    /// Asks for one worker step of `worker_template` for each cursor; if there are none, for no batches.
    fn batch_analyzer_success(
        &self,
        step_uuid: Uuid,
        worker_template: &str,
        cursor_configs: Vec<CursorConfig>,
        total_items: u64,
        execution_time_ms: i64,
    ) -> StepExecutionResult {
        if cursor_configs.is_empty() {
            return self.no_batches_outcome(step_uuid, "empty_dataset", execution_time_ms);
        }
        let worker_count = u32::try_from(cursor_configs.len()).unwrap_or(u32::MAX);
        let outcome = BatchProcessingOutcome::create_batches(
            worker_template.to_owned(),
            worker_count,
            cursor_configs,
            total_items,
        );
        let result = json!({
            "batch_processing_outcome": outcome,
            "worker_count": worker_count,
            "total_items": total_items,
            "worker_template": worker_template,
        });
        StepExecutionResult::success(step_uuid, result, execution_time_ms, None)
    }

    /// Succeeds without any worker step, because of `reason`.
    fn no_batches_outcome(&self, step_uuid: Uuid, reason: &str, execution_time_ms: i64) -> StepExecutionResult {
        let result = json!({"batch_processing_outcome": BatchProcessingOutcome::no_batches(), "reason": reason});
        StepExecutionResult::success(step_uuid, result, execution_time_ms, None)
    }

    /// Reports a processed batch by its counts. The success rate is in percent.
    fn batch_worker_success(
        &self,
        step_uuid: Uuid,
        processed: u64,
        succeeded: u64,
        failed: u64,
        skipped: u64,
        execution_time_ms: i64,
    ) -> StepExecutionResult {
        let success_rate = match processed {
            0 => 100.0,
            processed => succeeded as f64 / processed as f64 * 100.0,
        };
        let result = json!({
            "items_processed": processed, "items_succeeded": succeeded,
            "items_failed": failed, "items_skipped": skipped,
            "processed": processed, "succeeded": succeeded, "failed": failed, "skipped": skipped,
            "success_rate": success_rate,
        });
        StepExecutionResult::success(step_uuid, result, execution_time_ms, None)
    }

    /// The batch cannot be processed. The code is `BATCH_ERROR`.
    fn batch_failure(
        &self,
        step_uuid: Uuid,
        message: &str,
        error_type: &str,
        retryable: bool,
        execution_time_ms: i64,
    ) -> StepExecutionResult {
        StepExecutionResult::failure(
            step_uuid,
            message.to_owned(),
            Some("BATCH_ERROR".to_owned()),
            Some(error_type.to_owned()),
            retryable,
            execution_time_ms,
            None,
        )
    }

    /// Saves how far the step got. The handler returns this, and is called again with it in `step.checkpoint()`;
    /// that is no new attempt. `items_processed` counts from the beginning of the step.
    fn checkpoint_yield(
        &self,
        step_uuid: Uuid,
        cursor: Value,
        items_processed: u64,
        accumulated_results: Option<Value>,
    ) -> StepExecutionResult {
        StepExecutionResult::checkpoint(step_uuid, cursor, items_processed, accumulated_results)
    }
}

/// Batches of `share` items, the last one perhaps shorter.
fn divided(total_items: u64, share: u64) -> Vec<CursorConfig> {
    (0..total_items)
        .step_by(usize::try_from(share.max(1)).unwrap_or(usize::MAX))
        .enumerate()
        .map(|(index, start)| {
            let end = start.saturating_add(share).min(total_items);
            CursorConfig {
                batch_id: format!("{:03}", index + 1),
                start_cursor: json!(start),
                end_cursor: json!(end),
                batch_size: u32::try_from(end - start).unwrap_or(u32::MAX),
            }
        })
        .collect()
}
