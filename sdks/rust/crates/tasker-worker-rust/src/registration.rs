//! Registering handlers with a worker that is being built.

use std::sync::Arc;

use tasker_worker::worker::step_event_publisher::StepEventPublisherRegistry;
use tasker_worker::WorkerBuilder;

use crate::step_handlers::{AsStepHandler, DomainEventCallback, RustStepHandler, StepHandlerConfig};

/// What a [`WorkerBuilder`] can do with the handlers of this crate.
///
/// ```no_run
/// # use tasker_worker_rust::step_handlers::StepHandlerConfig;
/// # use tasker_worker_rust::{success_result, RustStepHandler, StepExecutionResult, TaskSequenceStep};
/// # struct Greet;
/// # #[async_trait::async_trait]
/// # impl RustStepHandler for Greet {
/// #     fn new(_config: StepHandlerConfig) -> Self { Self }
/// #     fn name(&self) -> &str { "greet" }
/// #     async fn call(&self, step_data: &TaskSequenceStep) -> anyhow::Result<StepExecutionResult> {
/// #         Ok(success_result(step_data.workflow_step.workflow_step_uuid, serde_json::json!({}), 0, None))
/// #     }
/// # }
/// use tasker_worker_rust::{RegisterHandlers, Worker};
///
/// # async fn example() -> anyhow::Result<()> {
/// Worker::builder().namespace("shop").register::<Greet>().max_concurrent(10).build()?.run().await?;
/// # Ok(())
/// # }
/// ```
pub trait RegisterHandlers: Sized {
    /// Makes a handler with an empty configuration, and registers it under its name.
    fn register<H: RustStepHandler + 'static>(self) -> Self {
        self.register_handler(H::new(StepHandlerConfig::empty()))
    }

    /// Registers a handler under its name.
    fn register_handler<H: RustStepHandler + 'static>(self, handler: H) -> Self {
        let name = handler.name().to_owned();
        self.register_handler_as(name, handler)
    }

    /// Registers a handler under any name.
    fn register_handler_as<H: RustStepHandler + 'static>(self, name: impl Into<String>, handler: H) -> Self;

    /// Publishes the events that templates declare for steps.
    fn publish_events(self, publishers: impl Into<Arc<StepEventPublisherRegistry>>) -> Self;
}

impl RegisterHandlers for WorkerBuilder {
    fn register_handler_as<H: RustStepHandler + 'static>(self, name: impl Into<String>, handler: H) -> Self {
        self.handler_as(name, Arc::new(AsStepHandler(Arc::new(handler))))
    }

    fn publish_events(self, publishers: impl Into<Arc<StepEventPublisherRegistry>>) -> Self {
        self.callback(Arc::new(DomainEventCallback::new(publishers)))
    }
}
