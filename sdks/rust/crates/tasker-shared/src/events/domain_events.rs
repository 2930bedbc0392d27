//! Events of the business, such as `order.validated`.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::events::EventRegistry;
use crate::messaging::StepExecutionResult;
use crate::types::TaskSequenceStep;

/// The version of events that do not say otherwise.
const EVENT_VERSION: &str = "1.0";

/// Something that happened, for whoever is interested.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DomainEvent {
    /// The event's id.
    pub event_id: Uuid,
    /// Its name, such as `order.validated`.
    pub event_name: String,
    /// The version of its payload's shape.
    pub event_version: String,
    /// What it says, and the step that it follows from.
    pub payload: DomainEventPayload,
    /// Where and when it happened.
    pub metadata: EventMetadata,
}

/// What an event says, and the step that it follows from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DomainEventPayload {
    /// The step, with its task.
    pub task_sequence_step: TaskSequenceStep,
    /// What the step resulted in.
    pub execution_result: StepExecutionResult,
    /// What the event says: by default the step's result.
    pub payload: Value,
}

/// Where and when an event happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventMetadata {
    /// The task.
    pub task_uuid: Uuid,
    /// The step.
    pub step_uuid: Option<Uuid>,
    /// The step's name.
    pub step_name: Option<String>,
    /// The template's namespace.
    pub namespace: String,
    /// Groups everything that follows from one request.
    pub correlation_id: Uuid,
    /// When it was published.
    pub fired_at: DateTime<Utc>,
    /// What published it.
    pub fired_by: String,
    /// Anything else.
    #[serde(default, skip_serializing_if = "HashMap::is_empty")]
    pub custom: HashMap<String, Value>,
}

/// Gives events to the subscribers in this process.
#[derive(Debug, Clone, Default)]
pub struct DomainEventPublisher {
    registry: Arc<EventRegistry>,
}

impl DomainEventPublisher {
    /// A publisher for the subscribers of `registry`.
    pub fn new(registry: Arc<EventRegistry>) -> Self {
        Self { registry }
    }

    /// The subscribers.
    pub fn registry(&self) -> &Arc<EventRegistry> {
        &self.registry
    }

    /// Gives an event to all that subscribed to its name, one after the other, and returns the event's id. A
    /// subscriber's error does not keep the others from it; `on_error` of the registry hears of it.
    pub async fn publish_event(&self, event_name: &str, payload: DomainEventPayload, metadata: EventMetadata) -> Uuid {
        let event = DomainEvent {
            event_id: Uuid::new_v4(),
            event_name: event_name.to_owned(),
            event_version: EVENT_VERSION.to_owned(),
            payload,
            metadata,
        };
        let event_id = event.event_id;
        self.registry.dispatch(event).await;
        event_id
    }
}
