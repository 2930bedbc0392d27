//! What batch workers and aggregators read from their input.

use std::collections::HashMap;

use anyhow::{anyhow, Context, Result};
use serde::Deserialize;
use serde_json::Value;
use tasker_shared::messaging::{BatchProcessingOutcome, StepExecutionResult};
use tasker_shared::models::core::batch_worker::BatchWorkerInputs;
use tasker_shared::types::TaskSequenceStep;
use tasker_shared::TaskerError;

/// The batch that a worker does.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchWorkerContext {
    inputs: BatchWorkerInputs,
}

impl BatchWorkerContext {
    /// Reads the batch from the step's inputs.
    ///
    /// # Errors
    ///
    /// The step is not a batch worker: it has no inputs, or they are none of a batch.
    pub fn from_step_data(step_data: &TaskSequenceStep) -> Result<Self> {
        let name = &step_data.workflow_step.name;
        let inputs = step_data.workflow_step.inputs.as_ref().ok_or_else(|| anyhow!("step '{name}' has no inputs"))?;
        let inputs = BatchWorkerInputs::deserialize(inputs)
            .with_context(|| format!("the inputs of step '{name}' are not those of a batch worker"))?;
        Ok(Self { inputs })
    }

    /// Whether it is the placeholder of an empty batch.
    pub fn is_no_op(&self) -> bool {
        self.inputs.is_no_op
    }

    /// The batch's id: `001` and so on.
    pub fn batch_id(&self) -> &str {
        &self.inputs.cursor.batch_id
    }

    /// Where the batch begins; 0 if its cursor is not a whole number, see [`inputs`](Self::inputs).
    pub fn start_position(&self) -> u64 {
        self.inputs.cursor.start_cursor.as_u64().unwrap_or(0)
    }

    /// Where the batch ends, exclusive; 0 if its cursor is not a whole number.
    pub fn end_position(&self) -> u64 {
        self.inputs.cursor.end_cursor.as_u64().unwrap_or(0)
    }

    /// How many items the batch has.
    pub fn total_batch_size(&self) -> u32 {
        self.inputs.cursor.batch_size
    }

    /// The field that orders the items.
    pub fn cursor_field(&self) -> &str {
        &self.inputs.batch_metadata.cursor_field
    }

    /// Everything, as the engine wrote it.
    pub fn inputs(&self) -> &BatchWorkerInputs {
        &self.inputs
    }
}

/// What an aggregator finds: no batches at all, or the result of every worker.
#[derive(Debug, Clone, PartialEq)]
pub enum BatchAggregationScenario<'a> {
    /// The analyzer found nothing to do.
    NoBatches {
        /// The analyzer's result.
        batchable_result: &'a StepExecutionResult,
    },
    /// There were batches.
    WithBatches {
        /// The workers' results with their steps' names, in the order of the names.
        batch_results: Vec<(&'a String, &'a StepExecutionResult)>,
        /// How many there are.
        worker_count: u32,
    },
}

impl<'a> BatchAggregationScenario<'a> {
    /// Finds out whether batches ran, and collects the results of all steps whose names begin with the prefix.
    ///
    /// # Errors
    ///
    /// The analyzer left no result, or it made batches and no worker left one.
    pub fn detect(
        dependency_results: &'a HashMap<String, StepExecutionResult>,
        batchable_step_name: &str,
        batch_worker_prefix: &str,
    ) -> Result<Self, TaskerError> {
        let batchable_result = dependency_results
            .get(batchable_step_name)
            .ok_or_else(|| missing(format!("step '{batchable_step_name}' left no result")))?;
        let outcome = BatchProcessingOutcome::from_step_result(batchable_result);
        if outcome == Some(BatchProcessingOutcome::NoBatches) {
            return Ok(Self::NoBatches { batchable_result });
        }
        let mut batch_results: Vec<_> =
            dependency_results.iter().filter(|(name, _)| name.starts_with(batch_worker_prefix)).collect();
        if batch_results.is_empty() {
            return Err(missing(format!("no step with the prefix '{batch_worker_prefix}' left a result")));
        }
        batch_results.sort_by_key(|(name, _)| *name);
        let worker_count = u32::try_from(batch_results.len()).unwrap_or(u32::MAX);
        Ok(Self::WithBatches { batch_results, worker_count })
    }

    /// Whether no batches ran.
    pub fn is_no_batches(&self) -> bool {
        matches!(self, Self::NoBatches { .. })
    }

    /// How many workers there were; 0 without batches.
    pub fn worker_count(&self) -> u32 {
        match self {
            Self::NoBatches { .. } => 0,
            Self::WithBatches { worker_count, .. } => *worker_count,
        }
    }

    /// The sum of a field over all workers' results; a result without the number counts as 0.
    pub fn sum(&self, field: &str) -> i64 {
        match self {
            Self::NoBatches { .. } => 0,
            Self::WithBatches { batch_results, .. } => {
                let number = |result: &StepExecutionResult| result.result.get(field).and_then(Value::as_i64);
                batch_results.iter().filter_map(|(_, result)| number(result)).sum()
            }
        }
    }
}

fn missing(what: String) -> TaskerError {
    TaskerError::ValidationError(what)
}
