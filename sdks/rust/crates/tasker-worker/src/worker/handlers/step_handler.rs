//! What a worker calls, and where it finds it.

use std::sync::Arc;

use async_trait::async_trait;
use tasker_shared::messaging::StepExecutionResult;
use tasker_shared::registry::MethodDispatchError;
use tasker_shared::types::TaskSequenceStep;
use tasker_shared::{TaskerError, TaskerResult};

/// The code of a step.
#[async_trait]
pub trait StepHandler: Send + Sync {
    /// Runs the step.
    ///
    /// # Errors
    /// An error is a failure that is tried again, unless it is a `TaskerError::HandlerError` around a
    /// `RustStepHandlerError` that says otherwise.
    async fn call(&self, step: &TaskSequenceStep) -> TaskerResult<StepExecutionResult>;

    /// The handler's name, by which templates call it.
    fn name(&self) -> &str;

    /// The handler's version, kept with its results; `1.0.0` by default.
    fn version(&self) -> &str {
        "1.0.0"
    }

    /// The namespace that the handler is for; every one by default.
    fn namespace(&self) -> Option<&str> {
        None
    }

    /// Runs the method that a template names with `handler.method`; by default there is only `call`.
    ///
    /// # Errors
    /// Those of [`call`](Self::call); a [`MethodDispatchError`] if there is no such method, which fails the step for
    /// good.
    async fn invoke_method(&self, method: &str, step: &TaskSequenceStep) -> TaskerResult<StepExecutionResult> {
        if method == "call" {
            return self.call(step).await;
        }
        let missing = MethodDispatchError::new(self.name(), method, &["call"]);
        Err(TaskerError::HandlerError(missing.into()))
    }
}

/// Finds the handlers of steps.
#[async_trait]
pub trait StepHandlerRegistry: Send + Sync {
    /// The handler of a step; `None` if there is none.
    async fn get(&self, step: &TaskSequenceStep) -> Option<Arc<dyn StepHandler>>;

    /// Registers a handler under a name; one that has the name already is replaced. A worker that runs takes it up.
    fn register(&self, name: &str, handler: Arc<dyn StepHandler>);

    /// Whether there is a handler of this name.
    fn handler_available(&self, name: &str) -> bool;

    /// The names of all handlers.
    fn registered_handlers(&self) -> Vec<String>;
}
