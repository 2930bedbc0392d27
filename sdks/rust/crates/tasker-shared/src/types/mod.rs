//! What a handler is given.

pub mod base;
pub mod error_types;
mod task_sequence_step;

pub use base::{Task, TaskForOrchestration, TaskSequenceStep, WorkflowStepWithName};
