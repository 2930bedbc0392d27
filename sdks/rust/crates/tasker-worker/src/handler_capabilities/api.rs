//! Results of handlers that call other services.

use std::collections::HashMap;

use serde_json::{json, Value};
use tasker_shared::messaging::message::OrchestrationMetadata;
use tasker_shared::messaging::StepExecutionResult;
use uuid::Uuid;

/// The header that delays the next attempt, as the server reads it.
const RETRY_AFTER: &str = "retry-after";

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

    /// The same with the headers of the service's answer: its `Retry-After` says when the next attempt may begin.
    /// Takes a `&HeaderMap` as well as a `&HashMap<String, String>`.
    fn api_failure_with_headers<N: AsRef<str>, V: AsRef<[u8]>>(
        &self,
        step_uuid: Uuid,
        message: &str,
        status: u16,
        error_type: &str,
        headers: impl IntoIterator<Item = (N, V)>,
        execution_time_ms: i64,
    ) -> StepExecutionResult
    where
        Self: Sized,
    {
        let result = self.api_failure(step_uuid, message, status, error_type, execution_time_ms);
        let found = headers.into_iter().find(|(name, _)| name.as_ref().eq_ignore_ascii_case(RETRY_AFTER));
        match found.as_ref().map(|(_, value)| std::str::from_utf8(value.as_ref())) {
            Some(Ok(wait)) => {
                result.with_orchestration_metadata(OrchestrationMetadata::new().with_header(RETRY_AFTER, wait))
            }
            _ => result,
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::{HeaderMap, HeaderValue};

    struct Calls;
    impl APICapable for Calls {}

    fn hint<N: AsRef<str>, V: AsRef<[u8]>>(headers: impl IntoIterator<Item = (N, V)>) -> Option<String> {
        let result = Calls.api_failure_with_headers(Uuid::nil(), "busy", 429, "rate_limited", headers, 5);
        let plain = Calls.api_failure(Uuid::nil(), "busy", 429, "rate_limited", 5);
        assert_eq!(
            (&result.error, &result.metadata.error_code, &result.metadata.context),
            (&plain.error, &plain.metadata.error_code, &plain.metadata.context)
        );
        result.orchestration_metadata.map(|told| told.headers["retry-after"].clone())
    }

    #[test]
    fn retry_after_is_handed_on_whatever_its_case() {
        for name in ["Retry-After", "retry-after", "RETRY-AFTER"] {
            let headers =
                HashMap::from([("Date", "now"), (name, "7")].map(|(name, value)| (name.to_owned(), value.to_owned())));
            assert_eq!(hint(&headers).as_deref(), Some("7"));
        }
        let mut headers = HeaderMap::new();
        headers.insert("Retry-After", HeaderValue::from_static("Fri, 31 Dec 2032 23:59:59 GMT"));
        assert_eq!(hint(&headers).as_deref(), Some("Fri, 31 Dec 2032 23:59:59 GMT"));
    }

    #[test]
    fn without_a_readable_retry_after_there_is_no_hint() {
        assert_eq!(hint([("content-type", "text/plain")]), None);
        assert_eq!(hint([("retry-after", b"\xff")]), None);
    }
}
