//! Running handlers outside of a worker's loop.

use std::sync::Arc;

use async_trait::async_trait;
use tasker_shared::messaging::StepExecutionResult;
use tasker_shared::types::TaskSequenceStep;
use tasker_shared::wire::{LeaseItem, WireResult};

use crate::execution;
use crate::worker::handlers::StepHandlerRegistry;

/// Is told of each result, such as to publish events.
#[async_trait]
pub trait PostHandlerCallback: Send + Sync {
    /// A handler has returned; its result is reported afterwards. Under a lost lease, both happen again elsewhere.
    async fn on_handler_complete(&self, step: &TaskSequenceStep, result: &StepExecutionResult, worker_id: &str);

    /// The callback's name, for logs.
    fn name(&self) -> &str;
}

/// Does nothing; what a worker has if it is given no other callback.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoOpCallback;

#[async_trait]
impl PostHandlerCallback for NoOpCallback {
    async fn on_handler_complete(&self, _step: &TaskSequenceStep, _result: &StepExecutionResult, _worker_id: &str) {}

    fn name(&self) -> &str {
        "no-op"
    }
}

/// Runs the handlers of leased steps, and tells a callback of the results. Clones share everything.
#[derive(Clone)]
pub struct HandlerExecutor {
    registry: Arc<dyn StepHandlerRegistry>,
    callback: Arc<dyn PostHandlerCallback>,
    worker_id: Arc<str>,
}

impl HandlerExecutor {
    /// An executor without a callback; `worker_id` is the worker's name.
    pub fn new(registry: Arc<dyn StepHandlerRegistry>, worker_id: &str) -> Self {
        Self { registry, callback: Arc::new(NoOpCallback), worker_id: worker_id.into() }
    }

    /// The executor with a callback.
    pub fn with_callback(self, callback: Arc<dyn PostHandlerCallback>) -> Self {
        Self { callback, ..self }
    }

    /// Where it finds handlers.
    pub fn registry(&self) -> &Arc<dyn StepHandlerRegistry> {
        &self.registry
    }

    /// Runs the handler of a leased step; see [`execution::execute`].
    pub async fn execute(&self, lease: &LeaseItem) -> WireResult {
        execution::execute_and_tell(lease, self.registry.as_ref(), &self.worker_id, self.callback.as_ref()).await
    }
}
