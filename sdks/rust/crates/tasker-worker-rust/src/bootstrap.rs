//! Starting a worker inside an application.

use std::sync::Arc;

use tasker_shared::events::EventRegistry;
use tasker_shared::TaskerResult;
use tasker_worker::worker::step_event_publisher::StepEventPublisherRegistry;
use tasker_worker::{WorkerBootstrap, WorkerBootstrapConfig, WorkerSystemHandle};

use crate::step_handlers::{DomainEventCallback, GlobalRustStepHandlerRegistry, RustStepHandlerRegistryAdapter};

/// A worker that was started.
pub struct RustWorkerBootstrapResult {
    /// Stops the worker, and tells how it is.
    pub worker_handle: WorkerSystemHandle,
    /// Takes subscribers of the events that steps publish. It belongs to the handlers' registry, so subscribers can
    /// also come before the worker starts: `GlobalRustStepHandlerRegistry::instance().event_publisher().registry()`.
    pub events: Arc<EventRegistry>,
}

/// Starts a worker with the handlers of [`GlobalRustStepHandlerRegistry`] and the settings of the environment, and
/// returns once it takes steps. Handlers that are registered later are served, too. Signals are the application's: it
/// stops the worker with `worker_handle.stop()`.
///
/// # Errors
///
/// The worker cannot start.
pub async fn bootstrap() -> TaskerResult<RustWorkerBootstrapResult> {
    bootstrap_with(WorkerBootstrapConfig::default()).await
}

/// The same, with other settings.
///
/// # Errors
///
/// The worker cannot start.
pub async fn bootstrap_with(config: WorkerBootstrapConfig) -> TaskerResult<RustWorkerBootstrapResult> {
    let publisher = GlobalRustStepHandlerRegistry::instance().event_publisher();
    let events = Arc::clone(publisher.registry());
    events.on_error(|event, error| tracing::warn!(event_name = event, %error, "event_handler_failed"));
    let callback = DomainEventCallback::new(StepEventPublisherRegistry::new(publisher));
    let handlers = RustStepHandlerRegistryAdapter::with_default_handlers();
    let worker_handle = WorkerBootstrap::bootstrap_with(config, Arc::new(handlers), Some(Arc::new(callback))).await?;
    Ok(RustWorkerBootstrapResult { worker_handle, events })
}
