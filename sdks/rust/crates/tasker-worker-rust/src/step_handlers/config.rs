//! What a handler is made with.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;
use tasker_shared::events::domain_events::DomainEventPublisher;

/// What a handler is made with, once when it is registered. The template's `handler.initialization` is another thing:
/// it belongs to a step, see `step_data.get_config`.
#[derive(Debug, Clone, Default)]
pub struct StepHandlerConfig {
    /// Settings of the application's own.
    pub data: HashMap<String, Value>,
    /// Where the handler can publish events.
    pub event_publisher: Option<Arc<DomainEventPublisher>>,
}

impl StepHandlerConfig {
    /// With settings.
    pub fn new(data: HashMap<String, Value>) -> Self {
        Self { data, event_publisher: None }
    }

    /// Without any.
    pub fn empty() -> Self {
        Self::default()
    }

    /// Adds where the handler can publish events.
    pub fn with_event_publisher(mut self, publisher: Arc<DomainEventPublisher>) -> Self {
        self.event_publisher = Some(publisher);
        self
    }

    /// A setting as text; none if it is absent or something else.
    pub fn get_string(&self, key: &str) -> Option<String> {
        self.get_value(key)?.as_str().map(str::to_owned)
    }

    /// A setting as a truth value; none if it is absent or something else.
    pub fn get_bool(&self, key: &str) -> Option<bool> {
        self.get_value(key)?.as_bool()
    }

    /// A setting as a whole number; none if it is absent or something else.
    pub fn get_i64(&self, key: &str) -> Option<i64> {
        self.get_value(key)?.as_i64()
    }

    /// A setting as a whole number from 0; none if it is absent or something else.
    pub fn get_u64(&self, key: &str) -> Option<u64> {
        self.get_value(key)?.as_u64()
    }

    /// A setting as a number; none if it is absent or something else.
    pub fn get_f64(&self, key: &str) -> Option<f64> {
        self.get_value(key)?.as_f64()
    }

    /// A setting as JSON.
    pub fn get_value(&self, key: &str) -> Option<&Value> {
        self.data.get(key)
    }

    /// Whether a setting is there.
    pub fn has(&self, key: &str) -> bool {
        self.data.contains_key(key)
    }
}
