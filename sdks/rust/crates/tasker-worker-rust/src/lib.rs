//! Write Tasker step handlers in Rust, register them, and run them in a worker.
//!
//! - [`RustStepHandler`] is what a handler implements; [`success_result`] and [`error_result`] are what it returns.
//! - [`step_handlers`] has what handlers of a special kind use: decisions, batches, calls to other services, events.
//! - [`testing`] runs a handler without a server.
//! - [`Worker`] takes steps from a server; [`RegisterHandlers`] gives it handlers.
//! - [`bootstrap`] starts a worker inside an application.

#![warn(missing_docs)]

pub mod bootstrap;
mod registration;
pub mod step_handlers;
pub mod testing;

pub use bootstrap::RustWorkerBootstrapResult;
pub use registration::RegisterHandlers;
pub use step_handlers::{
    error_result, success_result, GlobalRustStepHandlerRegistry, RustStepHandler, RustStepHandlerRegistry,
};
pub use tasker_shared::messaging::StepExecutionResult;
pub use tasker_shared::types::TaskSequenceStep;
pub use tasker_shared::RustStepHandlerError;
pub use tasker_worker::{
    Worker, WorkerBootstrap, WorkerBootstrapConfig, WorkerBuilder, WorkerError, WorkerSystemHandle, WorkerSystemStatus,
};
