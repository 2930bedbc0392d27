//! What handlers give back: results, and the outcomes of decision and batch steps within them.

mod execution_types;
pub mod message;
mod step_execution_parts;
mod step_execution_result;

pub use execution_types::{BatchProcessingOutcome, CursorConfig, DecisionPointOutcome};
pub use step_execution_parts::{StepExecutionError, StepExecutionMetadata, StepResultStatus};
pub use step_execution_result::StepExecutionResult;
