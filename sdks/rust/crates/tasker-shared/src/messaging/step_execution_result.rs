//! The result of one execution of a step.

use std::collections::HashMap;

use chrono::{TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{json, Value};
use uuid::Uuid;

use crate::lenient::null_as_default;
use crate::messaging::message::OrchestrationMetadata;
use crate::messaging::{StepExecutionError, StepExecutionMetadata, StepResultStatus};
use crate::models::core::batch_worker::CheckpointYieldData;

/// The key of `metadata.custom` that makes a result a checkpoint.
const CHECKPOINT_YIELD: &str = "checkpoint_yield";

/// The result of one execution of a step, as handlers return it and as later steps find it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepExecutionResult {
    /// The step.
    #[serde(default, deserialize_with = "null_as_default")]
    pub step_uuid: Uuid,
    /// Whether it succeeded.
    #[serde(default, deserialize_with = "null_as_default")]
    pub success: bool,
    /// What it resulted in; an empty object for a failure.
    #[serde(default)]
    pub result: Value,
    /// About the execution.
    #[serde(default, deserialize_with = "null_as_default")]
    pub metadata: StepExecutionMetadata,
    /// `completed`, `failed` or `error`.
    #[serde(default, deserialize_with = "null_as_default")]
    pub status: String,
    /// Why it failed; none for a success.
    #[serde(default)]
    pub error: Option<StepExecutionError>,
    /// When to try again, and what else the engine should know.
    #[serde(default)]
    pub orchestration_metadata: Option<OrchestrationMetadata>,
}

impl StepExecutionResult {
    /// A success with `result`, which may be any JSON; `custom_metadata` is kept with it.
    pub fn success(
        step_uuid: Uuid,
        result: Value,
        execution_time_ms: i64,
        custom_metadata: Option<HashMap<String, Value>>,
    ) -> Self {
        let metadata =
            StepExecutionMetadata { custom: custom_metadata.unwrap_or_default(), ..ended_now(execution_time_ms) };
        Self {
            step_uuid,
            success: true,
            result,
            metadata,
            status: "completed".to_owned(),
            error: None,
            orchestration_metadata: Some(OrchestrationMetadata::default()),
        }
    }

    /// A failure. It is tried again if `retryable` and the template allows another attempt; `context` is what was
    /// going on.
    pub fn failure(
        step_uuid: Uuid,
        error_message: String,
        error_code: Option<String>,
        error_type: Option<String>,
        retryable: bool,
        execution_time_ms: i64,
        context: Option<HashMap<String, Value>>,
    ) -> Self {
        let metadata = StepExecutionMetadata {
            retryable,
            error_code,
            error_type: error_type.clone(),
            context: context.unwrap_or_default(),
            ..ended_now(execution_time_ms)
        };
        let error = StepExecutionError { error_type, ..StepExecutionError::new(error_message, retryable) };
        Self {
            step_uuid,
            success: false,
            result: json!({}),
            metadata,
            status: "failed".to_owned(),
            error: Some(error),
            orchestration_metadata: None,
        }
    }

    /// A failure of something outside the step, of status `error`; never tried again.
    pub fn error(
        step_uuid: Uuid,
        error_message: String,
        error_type: Option<String>,
        backtrace: Option<Vec<String>>,
        execution_time_ms: i64,
        context: Option<HashMap<String, Value>>,
    ) -> Self {
        let mut result = Self::failure(step_uuid, error_message, None, error_type, false, execution_time_ms, context);
        "error".clone_into(&mut result.status);
        if let Some(error) = &mut result.error {
            error.backtrace = backtrace;
        }
        result
    }

    /// Saves how far the step got. The handler returns this, and is called again with it in
    /// [`checkpoint`](crate::types::TaskSequenceStep::checkpoint); that is no new attempt.
    ///
    /// `cursor` is any JSON; `items_processed` counts from the beginning of the step. Accumulated results that are
    /// left out stay what they were.
    pub fn checkpoint(
        step_uuid: Uuid,
        cursor: Value,
        items_processed: u64,
        accumulated_results: Option<Value>,
    ) -> Self {
        let mut result = json!({"type": CHECKPOINT_YIELD, "cursor": cursor, "items_processed": items_processed});
        if let Some(accumulated) = accumulated_results {
            result["accumulated_results"] = accumulated;
        }
        let marks = [(CHECKPOINT_YIELD.to_owned(), json!(true)), ("batch_worker".to_owned(), json!(true))];
        Self::success(step_uuid, result, 0, Some(HashMap::from(marks)))
    }

    /// The checkpoint that the result is; none for a result that ends the step.
    pub fn checkpoint_yield(&self) -> Option<CheckpointYieldData> {
        let is_yield = self.metadata.custom.get(CHECKPOINT_YIELD).is_some_and(|mark| mark == &json!(true));
        (self.success && is_yield).then(|| CheckpointYieldData {
            step_uuid: self.step_uuid,
            cursor: self.result.get("cursor").cloned().unwrap_or_default(),
            items_processed: self.result.get("items_processed").and_then(Value::as_u64).unwrap_or(0),
            accumulated_results: self.result.get("accumulated_results").cloned().filter(|kept| !kept.is_null()),
        })
    }

    /// Whether the step succeeded.
    pub fn is_success(&self) -> bool {
        self.success
    }

    /// Whether a failure is tried again.
    pub fn is_retryable(&self) -> bool {
        !self.success && self.metadata.retryable
    }

    /// The status in lower case; if it is empty, what `success` says.
    pub fn normalized_status(&self) -> String {
        match self.status.trim().to_lowercase().as_str() {
            "" if self.success => "completed".to_owned(),
            "" => "failed".to_owned(),
            status => status.to_owned(),
        }
    }

    /// The status as a value; any other word counts as what `success` says.
    pub fn status_enum(&self) -> StepResultStatus {
        match self.normalized_status().as_str() {
            "completed" => StepResultStatus::Completed,
            "failed" => StepResultStatus::Failed,
            "error" => StepResultStatus::Error,
            _ if self.success => StepResultStatus::Completed,
            _ => StepResultStatus::Failed,
        }
    }

    /// The result as JSON, the way it is kept.
    pub fn to_persistence_format(&self) -> Value {
        json!(self)
    }

    /// A failure's own code.
    pub fn error_code(&self) -> Option<&str> {
        self.metadata.error_code.as_deref()
    }

    /// A failure's kind.
    pub fn error_type(&self) -> Option<&str> {
        let of_error = self.error.as_ref().and_then(|error| error.error_type.as_deref());
        of_error.or(self.metadata.error_type.as_deref())
    }

    /// Sets what else the engine should know, such as when to try again.
    pub fn with_orchestration_metadata(mut self, metadata: OrchestrationMetadata) -> Self {
        self.orchestration_metadata = Some(metadata);
        self
    }

    /// Sets the failure's own code.
    pub fn with_error_code(mut self, error_code: impl Into<String>) -> Self {
        self.metadata.error_code = Some(error_code.into());
        self
    }

    /// Sets the failure's kind.
    pub fn with_error_type(mut self, error_type: impl Into<String>) -> Self {
        let error_type = error_type.into();
        if let Some(error) = &mut self.error {
            error.error_type = Some(error_type.clone());
        }
        self.metadata.error_type = Some(error_type);
        self
    }
}

/// Reads a result. A value that is not a result counts as what a success resulted in; one that is a result in part
/// keeps what the step resulted in.
impl From<Value> for StepExecutionResult {
    fn from(mut value: Value) -> Self {
        let is_result = value.get("success").is_some_and(Value::is_boolean) || value.get("result").is_some();
        if !is_result {
            return Self::success(Uuid::nil(), value, 0, None);
        }
        let success = value.get("success").and_then(Value::as_bool).unwrap_or(true);
        match Self::deserialize(&value) {
            Ok(result) => Self { success, ..result },
            Err(_) => {
                let result = value.get_mut("result").map(Value::take).unwrap_or_default();
                Self { success, ..Self::success(Uuid::nil(), result, 0, None) }
            }
        }
    }
}

fn ended_now(execution_time_ms: i64) -> StepExecutionMetadata {
    let now = Utc::now();
    StepExecutionMetadata {
        execution_time_ms,
        completed_at: now,
        started_at: TimeDelta::try_milliseconds(execution_time_ms).and_then(|time| now.checked_sub_signed(time)),
        ..StepExecutionMetadata::default()
    }
}
