//! The messages of the worker protocol that the execution of a step begins and ends with.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::lenient::null_as_default;
use crate::messaging::message::OrchestrationMetadata;
use crate::messaging::{StepExecutionError, StepExecutionMetadata, StepExecutionResult};
use crate::models::core::batch_worker::CheckpointYieldData;
use crate::types::TaskSequenceStep;

/// A step that the server gave to this worker for a limited time.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LeaseItem {
    /// The step.
    pub step_uuid: Uuid,
    /// Names the lease together with `step_uuid`; no two leases have the same.
    pub lease_id: i64,
    /// The number of the attempt, from 1.
    #[serde(default, deserialize_with = "null_as_default")]
    pub attempt: i32,
    /// How often the task was re-run.
    #[serde(default, deserialize_with = "null_as_default")]
    pub reruns: i32,
    /// The steps whose results were left out because of their size.
    #[serde(default, deserialize_with = "null_as_default")]
    pub omitted_results: Vec<String>,
    /// The handler's input.
    pub task_sequence_step: TaskSequenceStep,
}

/// What is reported under a lease.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WireResult {
    /// The step.
    pub step_uuid: Uuid,
    /// The lease that it was executed under.
    pub lease_id: i64,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: WireOutcome,
}

/// What an execution came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum WireOutcome {
    /// The step goes on from a checkpoint.
    Checkpoint {
        /// How far it got.
        checkpoint: WireCheckpoint,
    },
    /// The step ended.
    Ended(Box<WireEnding>),
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WireEnding {
    /// Whether it succeeded.
    pub success: bool,
    /// What it resulted in.
    pub result: Value,
    /// `completed`, `failed` or `error`.
    pub status: String,
    /// About the execution.
    pub metadata: StepExecutionMetadata,
    /// Why it failed.
    pub error: Option<StepExecutionError>,
    /// When to try again.
    pub orchestration_metadata: Option<OrchestrationMetadata>,
}

/// How far a step got.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WireCheckpoint {
    /// Where to go on.
    pub cursor: Value,
    /// Items done since the beginning of the step.
    pub items_processed: u64,
    /// Partial results to keep.
    pub accumulated_results: Option<Value>,
}

impl WireResult {
    /// The report of a handler's result: its ending, or its checkpoint. The lease says whose it is.
    pub fn new(lease: &LeaseItem, result: StepExecutionResult) -> Self {
        let outcome = match result.checkpoint_yield() {
            Some(CheckpointYieldData { cursor, items_processed, accumulated_results, .. }) => {
                WireOutcome::Checkpoint { checkpoint: WireCheckpoint { cursor, items_processed, accumulated_results } }
            }
            None => WireOutcome::Ended(Box::new(WireEnding {
                success: result.success,
                result: result.result,
                status: result.status,
                metadata: result.metadata,
                error: result.error,
                orchestration_metadata: result.orchestration_metadata,
            })),
        };
        Self { step_uuid: lease.step_uuid, lease_id: lease.lease_id, outcome }
    }

    /// Whether the step succeeded; none if it goes on from a checkpoint.
    pub fn success(&self) -> Option<bool> {
        match &self.outcome {
            WireOutcome::Ended(ending) => Some(ending.success),
            WireOutcome::Checkpoint { .. } => None,
        }
    }
}
