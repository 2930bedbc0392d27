//! Publishing the events that a template declares for a step, after the step's handler ran.
//!
//! Events go to the subscribers in this process, whatever delivery mode they are declared with.

mod registry;

pub use registry::StepEventPublisherRegistry;

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use tasker_shared::events::domain_events::{DomainEventPayload, DomainEventPublisher, EventMetadata};
use tasker_shared::messaging::StepExecutionResult;
use tasker_shared::models::core::task_template::{EventDeclaration, EventDeliveryMode};
use tasker_shared::types::TaskSequenceStep;
use thiserror::Error;
use uuid::Uuid;

/// The name of the publisher of events that name none.
pub const DEFAULT_PUBLISHER: &str = "default";

/// A step that ended, and the events that may follow from it.
#[derive(Debug, Clone)]
pub struct StepEventContext {
    /// The step, with its task.
    pub task_sequence_step: TaskSequenceStep,
    /// What it resulted in.
    pub execution_result: StepExecutionResult,
}

impl StepEventContext {
    /// Of a step and its result.
    pub fn new(task_sequence_step: TaskSequenceStep, execution_result: StepExecutionResult) -> Self {
        Self { task_sequence_step, execution_result }
    }

    /// The events that the template declares for the step.
    pub fn declared_events(&self) -> &[EventDeclaration] {
        &self.task_sequence_step.step_definition.publishes_events
    }

    /// Whether the template declares an event.
    pub fn is_event_declared(&self, event_name: &str) -> bool {
        self.declared_events().iter().any(|event| event.name == event_name)
    }

    /// Whether an event follows from the outcome by its declared condition.
    pub fn should_publish(&self, event: &EventDeclaration) -> bool {
        event.should_publish(self.step_succeeded(), self.execution_result.is_retryable())
    }

    /// The task.
    pub fn task_uuid(&self) -> Uuid {
        self.task_sequence_step.task.task_uuid
    }

    /// The step.
    pub fn step_uuid(&self) -> Uuid {
        self.task_sequence_step.workflow_step.workflow_step_uuid
    }

    /// The step's name.
    pub fn step_name(&self) -> &str {
        &self.task_sequence_step.workflow_step.name
    }

    /// The template's namespace.
    pub fn namespace(&self) -> &str {
        &self.task_sequence_step.task.namespace_name
    }

    /// Groups everything that follows from one request.
    pub fn correlation_id(&self) -> Uuid {
        self.task_sequence_step.task.correlation_id
    }

    /// Whether the step succeeded.
    pub fn step_succeeded(&self) -> bool {
        self.execution_result.success
    }
}

/// What came of publishing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PublishResult {
    /// The ids of the events that were published.
    pub published: Vec<Uuid>,
    /// The names of those that did not follow from the outcome.
    pub skipped: Vec<String>,
    /// What went wrong with others.
    pub errors: Vec<String>,
}

impl PublishResult {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of events that were published.
    pub fn published_count(&self) -> usize {
        self.published.len()
    }

    /// The number of events that did not follow from the outcome.
    pub fn skipped_count(&self) -> usize {
        self.skipped.len()
    }

    /// The number of errors.
    pub fn error_count(&self) -> usize {
        self.errors.len()
    }

    /// Whether there were no errors.
    pub fn all_succeeded(&self) -> bool {
        self.errors.is_empty()
    }

    /// Adds what came of publishing others.
    pub fn merge(&mut self, other: Self) {
        self.published.extend(other.published);
        self.skipped.extend(other.skipped);
        self.errors.extend(other.errors);
    }
}

/// Why an event, or a publisher, was not to be had.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StepEventPublisherError {
    /// The template does not declare the event for the step.
    #[error("step '{step_name}' does not declare the event '{event_name}'")]
    EventNotDeclared {
        /// The event.
        event_name: String,
        /// The step.
        step_name: String,
    },
    /// There is no such publisher.
    #[error("no publisher of the name '{0}'")]
    PublisherNotFound(String),
    /// Templates name publishers that are not there.
    #[error("publishers missing: {}", .0.join(", "))]
    PublishersMissing(Vec<String>),
    /// The publisher's own reason.
    #[error("{0}")]
    PublishFailed(String),
}

/// Publishes the events of steps whose templates name it.
#[async_trait]
pub trait StepEventPublisher: Send + Sync + Debug {
    /// The name that templates have in `publisher`.
    fn name(&self) -> &str;

    /// Where events go.
    fn domain_publisher(&self) -> &Arc<DomainEventPublisher>;

    /// Publishes what follows from a step. Called once after each execution of a step that declares an event of this
    /// publisher.
    async fn publish(&self, context: &StepEventContext) -> PublishResult;

    /// Whether to be called for a step at all; true by default.
    fn should_handle(&self, _step_name: &str) -> bool {
        true
    }

    /// Publishes one declared event, whatever its condition says.
    ///
    /// # Errors
    ///
    /// The template does not declare the event for the step.
    async fn publish_event(
        &self,
        context: &StepEventContext,
        event_name: &str,
        payload: Value,
    ) -> Result<Uuid, StepEventPublisherError> {
        let mode = context.declared_events().iter().find(|event| event.name == event_name);
        let mode = mode.map(|event| event.delivery_mode).unwrap_or_default();
        self.publish_event_with_delivery_mode(context, event_name, payload, mode).await
    }

    /// Publishes one declared event. All delivery modes reach the subscribers in this process; the mode is told to
    /// them in `metadata.custom.delivery_mode`.
    ///
    /// # Errors
    ///
    /// The template does not declare the event for the step.
    async fn publish_event_with_delivery_mode(
        &self,
        context: &StepEventContext,
        event_name: &str,
        payload: Value,
        delivery_mode: EventDeliveryMode,
    ) -> Result<Uuid, StepEventPublisherError> {
        if !context.is_event_declared(event_name) {
            return Err(StepEventPublisherError::EventNotDeclared {
                event_name: event_name.to_owned(),
                step_name: context.step_name().to_owned(),
            });
        }
        let payload = self.build_domain_payload(context, payload);
        let mut metadata = self.build_metadata(context);
        metadata.custom.insert("delivery_mode".to_owned(), serde_json::json!(delivery_mode));
        Ok(self.domain_publisher().publish_event(event_name, payload, metadata).await)
    }

    /// Where and when the event happened.
    fn build_metadata(&self, context: &StepEventContext) -> EventMetadata {
        EventMetadata {
            task_uuid: context.task_uuid(),
            step_uuid: Some(context.step_uuid()),
            step_name: Some(context.step_name().to_owned()),
            namespace: context.namespace().to_owned(),
            correlation_id: context.correlation_id(),
            fired_at: chrono::Utc::now(),
            fired_by: self.name().to_owned(),
            custom: HashMap::new(),
        }
    }

    /// What the event says, with the step that it follows from.
    fn build_domain_payload(&self, context: &StepEventContext, payload: Value) -> DomainEventPayload {
        DomainEventPayload {
            task_sequence_step: context.task_sequence_step.clone(),
            execution_result: context.execution_result.clone(),
            payload,
        }
    }
}

/// Publishes every event that follows from the outcome by its condition, with the step's result as its payload.
#[derive(Debug, Clone)]
pub struct DefaultStepEventPublisher {
    domain_publisher: Arc<DomainEventPublisher>,
}

impl DefaultStepEventPublisher {
    /// A publisher to `domain_publisher`.
    pub fn new(domain_publisher: Arc<DomainEventPublisher>) -> Self {
        Self { domain_publisher }
    }
}

#[async_trait]
impl StepEventPublisher for DefaultStepEventPublisher {
    fn name(&self) -> &str {
        DEFAULT_PUBLISHER
    }

    fn domain_publisher(&self) -> &Arc<DomainEventPublisher> {
        &self.domain_publisher
    }

    async fn publish(&self, context: &StepEventContext) -> PublishResult {
        let mut outcome = PublishResult::new();
        for event in context.declared_events() {
            if !context.should_publish(event) {
                outcome.skipped.push(event.name.clone());
                continue;
            }
            let payload = context.execution_result.result.clone();
            match self.publish_event(context, &event.name, payload).await {
                Ok(event_id) => outcome.published.push(event_id),
                Err(error) => outcome.errors.push(error.to_string()),
            }
        }
        outcome
    }
}
