//! Results of handlers that call other services.

use std::collections::HashMap;

use serde_json::{json, Value};
use tasker_shared::messaging::StepExecutionResult;
use uuid::Uuid;

/// What an HTTP status means for the step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClassification {
    /// 2xx.
    Success,
    /// 4xx other than 408 and 429: the same request would be refused again.
    PermanentError,
    /// 429.
    RateLimited,
    /// 408 and 5xx.
    TransientError,
    /// Anything else, as from no answer at all.
    NetworkError,
}

impl ErrorClassification {
    /// Whether another attempt may help.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::RateLimited | Self::TransientError | Self::NetworkError)
    }

    /// The `error_type` of such a failure.
    pub fn error_type(&self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::PermanentError => "permanent_error",
            Self::RateLimited => "rate_limited",
            Self::TransientError => "transient_error",
            Self::NetworkError => "network_error",
        }
    }
}

/// For handlers that call other services, with whatever HTTP client they like.
pub trait APICapable {
    /// A success with what the service answered: `{"data", "status_code", "headers"}`.
    fn api_success(
        &self,
        step_uuid: Uuid,
        data: Value,
        status: u16,
        headers: Option<Value>,
        execution_time_ms: i64,
    ) -> StepExecutionResult {
        let mut result = json!({"data": data, "status_code": status});
        if let Some(headers) = headers {
            result["headers"] = headers;
        }
        let custom = HashMap::from([("http_status".to_owned(), json!(status))]);
        StepExecutionResult::success(step_uuid, result, execution_time_ms, Some(custom))
    }

    /// A failure of code `HTTP_{status}`; the status decides whether it is tried again.
    fn api_failure(
        &self,
        step_uuid: Uuid,
        message: &str,
        status: u16,
        error_type: &str,
        execution_time_ms: i64,
    ) -> StepExecutionResult {
        let classification = self.classify_status_code(status);
        let context = HashMap::from([
            ("http_status".to_owned(), json!(status)),
            ("classification".to_owned(), json!(classification.error_type())),
        ]);
        let mut result = StepExecutionResult::failure(
            step_uuid,
            message.to_owned(),
            Some(format!("HTTP_{status}")),
            Some(error_type.to_owned()),
            classification.is_retryable(),
            execution_time_ms,
            Some(context),
        );
        if let Some(error) = &mut result.error {
            error.status_code = Some(status);
        }
        result
    }

    /// What a status means for the step.
    fn classify_status_code(&self, status: u16) -> ErrorClassification {
        match status {
            200..=299 => ErrorClassification::Success,
            429 => ErrorClassification::RateLimited,
            408 | 500..=599 => ErrorClassification::TransientError,
            400..=499 => ErrorClassification::PermanentError,
            _ => ErrorClassification::NetworkError,
        }
    }
}
