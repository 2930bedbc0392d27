//! Handlers, and what finds and runs them.

mod executor;
mod resolution;
mod step_handler;

pub use executor::{HandlerExecutor, NoOpCallback, PostHandlerCallback};
pub use resolution::{ExecutableHandler, HybridStepHandlerRegistry, ResolverChainRegistry, StepHandlerAsResolved};
pub use step_handler::{StepHandler, StepHandlerRegistry};
