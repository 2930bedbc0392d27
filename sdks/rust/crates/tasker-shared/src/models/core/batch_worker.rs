//! What a batch worker is given, and how it saves its progress.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::lenient::{null_as_default, timestamp};
use crate::messaging::{CursorConfig, StepExecutionResult};
use crate::models::core::task_template::FailureStrategy;

/// The inputs of a batch worker, as the engine writes them to `workflow_step.inputs`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct BatchWorkerInputs {
    /// The part of the work that the worker does.
    pub cursor: CursorConfig,
    /// What the template says about the batches.
    #[serde(default, deserialize_with = "null_as_default")]
    pub batch_metadata: BatchMetadata,
    /// Whether it is the placeholder of an empty batch.
    #[serde(default, deserialize_with = "null_as_default")]
    pub is_no_op: bool,
}

/// What the template says about processing a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchMetadata {
    /// The field that orders the items.
    #[serde(default, deserialize_with = "null_as_default")]
    pub cursor_field: String,
    /// What a failed item means for the rest.
    #[serde(default, deserialize_with = "null_as_default")]
    pub failure_strategy: FailureStrategy,
}

/// How far a step got, said while it goes on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckpointYieldData {
    /// The step.
    #[serde(default, deserialize_with = "null_as_default")]
    pub step_uuid: Uuid,
    /// Where to go on: any JSON.
    #[serde(default)]
    pub cursor: Value,
    /// Items done since the beginning of the step.
    #[serde(default, deserialize_with = "null_as_default")]
    pub items_processed: u64,
    /// Partial results to keep; none leaves what was kept before.
    #[serde(default)]
    pub accumulated_results: Option<Value>,
}

/// A checkpoint as the step's next execution finds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckpointRecord {
    /// Where to go on.
    #[serde(default)]
    pub cursor: Value,
    /// Items done since the beginning of the step.
    #[serde(default, deserialize_with = "null_as_default")]
    pub items_processed: u64,
    /// When it was saved.
    #[serde(default, deserialize_with = "timestamp")]
    pub timestamp: DateTime<Utc>,
    /// The partial results that were kept.
    #[serde(default)]
    pub accumulated_results: Option<Value>,
    /// Earlier cursors, with the time of each.
    #[serde(default, deserialize_with = "null_as_default")]
    pub history: Vec<Value>,
}

/// What one execution of a batch worker came to.
#[derive(Debug, Clone, PartialEq)]
pub enum BatchWorkerResult {
    /// The step ended.
    Complete(Box<StepExecutionResult>),
    /// The step goes on from here.
    CheckpointYield(CheckpointYieldData),
}

impl From<StepExecutionResult> for BatchWorkerResult {
    fn from(result: StepExecutionResult) -> Self {
        match result.checkpoint_yield() {
            Some(checkpoint) => Self::CheckpointYield(checkpoint),
            None => Self::Complete(Box::new(result)),
        }
    }
}
