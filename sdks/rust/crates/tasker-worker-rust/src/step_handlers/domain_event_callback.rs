//! Events that follow from what handlers return.

use std::sync::Arc;

use async_trait::async_trait;
use tasker_shared::messaging::StepExecutionResult;
use tasker_shared::types::TaskSequenceStep;
use tasker_worker::worker::handlers::PostHandlerCallback;
use tasker_worker::worker::step_event_publisher::StepEventPublisherRegistry;

/// Publishes the events that templates declare for steps, each time after a handler returned. A step that only saved a
/// checkpoint has not ended, and publishes nothing.
#[derive(Debug, Clone)]
pub struct DomainEventCallback {
    publishers: Arc<StepEventPublisherRegistry>,
}

impl DomainEventCallback {
    /// With the publishers that templates name.
    pub fn new(publishers: impl Into<Arc<StepEventPublisherRegistry>>) -> Self {
        Self { publishers: publishers.into() }
    }
}

#[async_trait]
impl PostHandlerCallback for DomainEventCallback {
    async fn on_handler_complete(&self, step: &TaskSequenceStep, result: &StepExecutionResult, _worker_id: &str) {
        if step.step_definition.publishes_events.is_empty() || result.checkpoint_yield().is_some() {
            return;
        }
        for error in self.publishers.publish(step, result).await.errors {
            tracing::warn!(step = step.workflow_step.name, error, "domain_event_failed");
        }
    }

    fn name(&self) -> &str {
        "domain-events"
    }
}
