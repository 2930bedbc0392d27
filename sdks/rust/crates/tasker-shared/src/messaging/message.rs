//! Hints for the engine about when to try again.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::lenient::null_as_default;

/// What a handler tells the engine besides its result.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct OrchestrationMetadata {
    /// Headers of a called server's answer; `retry-after` (seconds or an HTTP date) delays the next attempt.
    #[serde(default, deserialize_with = "null_as_default")]
    pub headers: HashMap<String, String>,
    /// What the handler was doing, for people.
    #[serde(default)]
    pub error_context: Option<String>,
    /// When to try again.
    #[serde(default)]
    pub backoff_hint: Option<BackoffHint>,
    /// Anything else.
    #[serde(default, deserialize_with = "null_as_default")]
    pub custom: HashMap<String, Value>,
}

impl OrchestrationMetadata {
    /// Nothing to tell.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a header of a called server's answer.
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.insert(name.into(), value.into());
        self
    }

    /// Says when to try again.
    pub fn with_backoff_hint(mut self, hint: BackoffHint) -> Self {
        self.backoff_hint = Some(hint);
        self
    }

    /// The value of a header, whose name is found in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// A wish for the delay before the next attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BackoffHint {
    /// Why to wait.
    pub backoff_type: BackoffHintType,
    /// How long to wait, in seconds.
    pub delay_seconds: u32,
    /// More about it, for people.
    #[serde(default)]
    pub context: Option<String>,
}

/// Why to wait before the next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BackoffHintType {
    /// A called server said when to come again.
    ServerRequested,
    /// A called server takes no more requests for now.
    RateLimit,
    /// A called server is down.
    ServiceUnavailable,
    /// Any other reason.
    #[serde(other)]
    Custom,
}
