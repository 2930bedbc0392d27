//! What handlers of a special kind say in their results. Implement the trait, which needs no methods, and use the
//! ones that it has:
//!
//! ```
//! use tasker_worker::handler_capabilities::DecisionCapable;
//!
//! struct RouteOrder;
//! impl DecisionCapable for RouteOrder {}
//!
//! let result = RouteOrder.decision_success(uuid::Uuid::new_v4(), vec!["ship".to_string()], None, 3);
//! assert!(result.success);
//! ```

mod api;
mod batchable;
mod decision;

pub use api::{APICapable, ErrorClassification};
pub use batchable::BatchableCapable;
pub use decision::DecisionCapable;

use serde_json::{json, Value};

/// Which of the traits a handler has, for display.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HandlerCapabilities {
    /// It calls other services.
    pub api_capable: bool,
    /// It decides.
    pub decision_capable: bool,
    /// It divides work, or does a part of it.
    pub batchable: bool,
    /// It publishes events.
    pub event_publishing: bool,
}

impl HandlerCapabilities {
    /// None of them.
    pub fn new() -> Self {
        Self::default()
    }

    /// With [`APICapable`].
    pub fn with_api(mut self) -> Self {
        self.api_capable = true;
        self
    }

    /// With [`DecisionCapable`].
    pub fn with_decision(mut self) -> Self {
        self.decision_capable = true;
        self
    }

    /// With [`BatchableCapable`].
    pub fn with_batch(mut self) -> Self {
        self.batchable = true;
        self
    }

    /// With events.
    pub fn with_events(mut self) -> Self {
        self.event_publishing = true;
        self
    }

    /// All four as JSON.
    pub fn to_value(&self) -> Value {
        json!({
            "api_capable": self.api_capable,
            "decision_capable": self.decision_capable,
            "batchable": self.batchable,
            "event_publishing": self.event_publishing,
        })
    }
}
