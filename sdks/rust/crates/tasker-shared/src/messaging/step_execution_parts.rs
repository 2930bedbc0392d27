//! What a result says about the execution: its metadata, its error, its status.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::lenient::{null_as_default, optional_timestamp, timestamp};

/// About one execution.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepExecutionMetadata {
    /// How long the handler ran, in milliseconds.
    #[serde(default, deserialize_with = "null_as_default")]
    pub execution_time_ms: i64,
    /// The handler's version.
    #[serde(default)]
    pub handler_version: Option<String>,
    /// Whether a failure is tried again; without meaning for a success.
    #[serde(default, deserialize_with = "null_as_default")]
    pub retryable: bool,
    /// When the execution ended.
    #[serde(default, deserialize_with = "timestamp")]
    pub completed_at: DateTime<Utc>,
    /// The worker that ran it.
    #[serde(default)]
    pub worker_id: Option<String>,
    /// The machine that it ran on.
    #[serde(default)]
    pub worker_hostname: Option<String>,
    /// When it began.
    #[serde(default, deserialize_with = "optional_timestamp")]
    pub started_at: Option<DateTime<Utc>>,
    /// What the handler wants to keep about it.
    #[serde(default, deserialize_with = "null_as_default")]
    pub custom: HashMap<String, Value>,
    /// A failure's own code.
    #[serde(default)]
    pub error_code: Option<String>,
    /// A failure's kind, see [`error_types`](crate::types::error_types).
    #[serde(default)]
    pub error_type: Option<String>,
    /// What was going on when it failed.
    #[serde(default, deserialize_with = "null_as_default")]
    pub context: HashMap<String, Value>,
}

impl Default for StepExecutionMetadata {
    /// Ended now, after no time.
    fn default() -> Self {
        Self {
            execution_time_ms: 0,
            handler_version: None,
            retryable: false,
            completed_at: Utc::now(),
            worker_id: None,
            worker_hostname: None,
            started_at: None,
            custom: HashMap::new(),
            error_code: None,
            error_type: None,
            context: HashMap::new(),
        }
    }
}

/// Why an execution failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepExecutionError {
    /// What happened.
    #[serde(default, deserialize_with = "null_as_default")]
    pub message: String,
    /// Its kind.
    #[serde(default)]
    pub error_type: Option<String>,
    /// Where it happened, a line each.
    #[serde(default)]
    pub backtrace: Option<Vec<String>>,
    /// Whether the step is tried again.
    #[serde(default, deserialize_with = "null_as_default")]
    pub retryable: bool,
    /// The status of a called server's answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_code: Option<u16>,
    /// What was going on.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "HashMap::is_empty")]
    pub context: HashMap<String, Value>,
}

impl StepExecutionError {
    /// An error without anything but its message.
    pub fn new(message: impl Into<String>, retryable: bool) -> Self {
        Self {
            message: message.into(),
            error_type: None,
            backtrace: None,
            retryable,
            status_code: None,
            context: HashMap::new(),
        }
    }

    /// Adds the error's kind.
    pub fn with_error_type(mut self, error_type: impl Into<String>) -> Self {
        self.error_type = Some(error_type.into());
        self
    }

    /// Adds where it happened.
    pub fn with_backtrace(mut self, backtrace: Vec<String>) -> Self {
        self.backtrace = Some(backtrace);
        self
    }

    /// Adds the status of a called server's answer.
    pub fn with_status_code(mut self, status_code: u16) -> Self {
        self.status_code = Some(status_code);
        self
    }

    /// Adds something about what was going on.
    pub fn with_context(mut self, key: impl Into<String>, value: Value) -> Self {
        self.context.insert(key.into(), value);
        self
    }
}

/// The kinds of results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepResultStatus {
    /// The step succeeded.
    Completed,
    /// The step failed.
    Failed,
    /// Something outside the step failed; the engine treats it like `Failed`.
    Error,
}
