//! What decision steps and analyzers tell the engine.

use serde::{Deserialize, Serialize};
use serde_json::{json, Value};

use crate::lenient::null_as_default;
use crate::messaging::StepExecutionResult;

/// Which steps a decision creates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum DecisionPointOutcome {
    /// None: the decision's branches are skipped.
    NoBranches,
    /// The named steps of the template.
    CreateSteps {
        /// Names of steps that depend on the decision.
        step_names: Vec<String>,
    },
}

impl DecisionPointOutcome {
    /// Go on with none of the decision's steps.
    pub fn no_branches() -> Self {
        Self::NoBranches
    }

    /// Go on with the named steps.
    pub fn create_steps(step_names: Vec<String>) -> Self {
        Self::CreateSteps { step_names }
    }

    /// Whether any steps are created.
    pub fn requires_step_creation(&self) -> bool {
        matches!(self, Self::CreateSteps { .. })
    }

    /// The steps to create; empty for none.
    pub fn step_names(&self) -> Vec<String> {
        match self {
            Self::NoBranches => Vec::new(),
            Self::CreateSteps { step_names } => step_names.clone(),
        }
    }

    /// The outcome as it stands in a result under `decision_point_outcome`.
    pub fn to_value(&self) -> Value {
        json!(self)
    }

    /// The outcome in the result of a decision; none if it is not one.
    pub fn from_step_result(result: &StepExecutionResult) -> Option<Self> {
        Self::deserialize(result.result.get("decision_point_outcome")?).ok()
    }
}

/// How an analyzer divides its work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum BatchProcessingOutcome {
    /// There is nothing to do.
    NoBatches,
    /// One worker step for each cursor.
    CreateBatches {
        /// The `batch_worker` step of the template.
        worker_template_name: String,
        /// The number of cursors.
        worker_count: u32,
        /// The cursors, one a worker.
        cursor_configs: Vec<CursorConfig>,
        /// How many items there are in all.
        total_items: u64,
    },
}

impl BatchProcessingOutcome {
    /// There is nothing to do.
    pub fn no_batches() -> Self {
        Self::NoBatches
    }

    /// One worker step of `worker_template_name` for each of the `worker_count` cursors.
    pub fn create_batches(
        worker_template_name: String,
        worker_count: u32,
        cursor_configs: Vec<CursorConfig>,
        total_items: u64,
    ) -> Self {
        Self::CreateBatches { worker_template_name, worker_count, cursor_configs, total_items }
    }

    /// Whether any worker steps are created.
    pub fn requires_worker_creation(&self) -> bool {
        matches!(self, Self::CreateBatches { .. })
    }

    /// The outcome as it stands in a result under `batch_processing_outcome`.
    pub fn to_value(&self) -> Value {
        json!(self)
    }

    /// The outcome in the result of an analyzer; none if it is not one.
    pub fn from_step_result(result: &StepExecutionResult) -> Option<Self> {
        Self::deserialize(result.result.get("batch_processing_outcome")?).ok()
    }
}

/// The part of the work that one batch worker does.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CursorConfig {
    /// `001` and so on, part of the worker's name.
    #[serde(default, deserialize_with = "null_as_default")]
    pub batch_id: String,
    /// Where the batch begins: an integer, or any JSON of your own.
    #[serde(default)]
    pub start_cursor: Value,
    /// Where it ends, exclusive.
    #[serde(default)]
    pub end_cursor: Value,
    /// How many items it has.
    #[serde(default, deserialize_with = "null_as_default")]
    pub batch_size: u32,
}
