//! The types that Tasker's Rust crates share: steps and their results, decision and batch outcomes, handler
//! resolution, and domain events.
//!
//! Models of the worker protocol are lenient readers: unknown keys are ignored, `null` is the same as absent, and
//! timestamps come with or without an offset.

#![warn(missing_docs)]

pub mod errors;
pub mod events;
mod lenient;
pub mod messaging;
pub mod models;
pub mod registry;
pub mod types;
pub mod wire;

pub use errors::{RustStepHandlerError, TaskerError, TaskerResult};
