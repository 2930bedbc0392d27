//! What can go wrong with a request.

use std::fmt;

use chrono::{DateTime, Utc};
use reqwest::header::{HeaderMap, RETRY_AFTER};
use serde::Deserialize;

/// Most of a foreign body, such as a proxy's page, that goes into a message, in characters.
const MOST_FOREIGN_TEXT: usize = 200;

/// What kind of thing went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request cannot be carried out as it is (400, 405, 413, 415), or was not even sent.
    InvalidRequest,
    /// The body has the wrong content (422); the details name the fields.
    ValidationFailed,
    /// There is no such thing, or not for this credential (404).
    NotFound,
    /// The request does not fit the state of things (409), such as creating a task that exists already.
    Conflict,
    /// There is no credential, or not a valid one (401).
    CredentialsRefused,
    /// The credential does not allow it (403).
    PermissionDenied,
    /// The server takes no more work for now (429, or code `BACKPRESSURE`).
    Backpressure,
    /// The server, or something before it, cannot serve the request just now (408, 502, 503, 504).
    Unavailable,
    /// No answer came.
    Connection,
    /// The time to wait for a task was up.
    Timeout,
    /// Anything else, such as an answer that cannot be read.
    Other,
}

/// What is wrong with one field of a request.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct ErrorDetail {
    /// The field.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

/// A request that did not succeed.
#[derive(Clone, Debug, thiserror::Error)]
pub struct ClientError {
    /// The kind of error.
    pub kind: ErrorKind,
    /// What went wrong, for people.
    pub message: String,
    /// The HTTP status; `None` if there was no answer.
    pub status: Option<u16>,
    /// The server's name for the kind of error, such as `NOT_FOUND`.
    pub code: Option<String>,
    /// What is wrong with single fields.
    pub details: Vec<ErrorDetail>,
    /// Finds the request in the server's log.
    pub request_id: Option<String>,
    /// Seconds after which the server would look at the request again.
    pub retry_after: Option<f64>,
}

impl fmt::Display for ClientError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)?;
        if self.details.is_empty() {
            return Ok(());
        }
        let fields: Vec<String> =
            self.details.iter().map(|detail| format!("{}: {}", detail.field, detail.message)).collect();
        write!(formatter, " ({})", fields.join("; "))
    }
}

#[derive(Deserialize)]
struct Envelope {
    error: Told,
}

#[derive(Deserialize)]
struct Told {
    code: Option<String>,
    message: Option<String>,
    details: Option<Vec<ErrorDetail>>,
}

impl ClientError {
    /// Whether the same request may succeed later: the server was busy, away or not reached.
    pub fn is_temporary(&self) -> bool {
        matches!(self.kind, ErrorKind::Backpressure | ErrorKind::Unavailable | ErrorKind::Connection)
    }

    /// The error for an answer that is no success.
    pub fn of_answer(status: u16, headers: &HeaderMap, body: &[u8]) -> Self {
        let (code, message, details) = match serde_json::from_slice::<Envelope>(body) {
            Ok(Envelope { error }) => (error.code, error.message, error.details.unwrap_or_default()),
            Err(_) => (None, Some(foreign_text(body)).filter(|text| !text.is_empty()), Vec::new()),
        };
        let kind = if code.as_deref() == Some("BACKPRESSURE") { ErrorKind::Backpressure } else { kind_of(status) };
        Self {
            kind,
            message: message.unwrap_or_else(|| format!("HTTP {status}")),
            status: Some(status),
            code,
            details,
            request_id: headers.get("x-request-id").and_then(|value| value.to_str().ok()).map(str::to_owned),
            retry_after: retry_after_in(headers),
        }
    }

    /// The error for a request that got no answer.
    pub fn of_connection(url: &str, error: &reqwest::Error) -> Self {
        let mut reason = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(inner) = source {
            reason = inner.to_string();
            source = inner.source();
        }
        Self::without_answer(ErrorKind::Connection, format!("no answer from {url}: {reason}"))
    }

    /// The error for an answer that is none of Tasker's.
    pub fn unreadable(url: &str, error: &serde_json::Error) -> Self {
        Self::without_answer(ErrorKind::Other, format!("the answer of {url} cannot be read: {error}"))
    }

    pub(crate) fn invalid(message: String) -> Self {
        Self::without_answer(ErrorKind::InvalidRequest, message)
    }

    pub(crate) fn without_answer(kind: ErrorKind, message: String) -> Self {
        Self { kind, message, status: None, code: None, details: Vec::new(), request_id: None, retry_after: None }
    }
}

/// The seconds that a `Retry-After` header asks to wait, as a number or until a date; `None` without one.
pub fn retry_after_in(headers: &HeaderMap) -> Option<f64> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?;
    if let Ok(seconds) = text.parse::<f64>() {
        return Some(seconds).filter(|seconds| seconds.is_finite() && *seconds >= 0.0);
    }
    let date = DateTime::parse_from_rfc2822(text).ok()?;
    Some((date.with_timezone(&Utc) - Utc::now()).num_milliseconds().max(0) as f64 / 1000.0)
}

fn kind_of(status: u16) -> ErrorKind {
    match status {
        400 | 405 | 413 | 415 => ErrorKind::InvalidRequest,
        401 => ErrorKind::CredentialsRefused,
        403 => ErrorKind::PermissionDenied,
        404 => ErrorKind::NotFound,
        408 | 502 | 503 | 504 => ErrorKind::Unavailable,
        409 => ErrorKind::Conflict,
        422 => ErrorKind::ValidationFailed,
        429 => ErrorKind::Backpressure,
        _ => ErrorKind::Other,
    }
}

fn foreign_text(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().take(MOST_FOREIGN_TEXT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderValue;

    #[test]
    fn an_answer_of_the_server_is_told_with_its_details() {
        let body = br#"{"error": {"code": "INVALID", "message": "wrong", "details": [{"field": "name", "message": "empty"}]}}"#;
        let error = ClientError::of_answer(422, &HeaderMap::new(), body);
        assert_eq!(error.kind, ErrorKind::ValidationFailed);
        assert_eq!(error.to_string(), "wrong (name: empty)");
        assert!(!error.is_temporary());
    }

    #[test]
    fn a_page_of_a_proxy_is_shortened() {
        let page = "<html>\n".repeat(1000);
        let error = ClientError::of_answer(502, &HeaderMap::new(), page.as_bytes());
        assert_eq!(error.message.chars().count(), MOST_FOREIGN_TEXT);
        assert!(error.is_temporary());
    }

    #[test]
    fn retry_after_is_a_number_or_a_date() {
        let after = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_str(text).unwrap());
            retry_after_in(&headers)
        };
        assert_eq!(after("7"), Some(7.0));
        assert_eq!(after("Wed, 21 Oct 2015 07:28:00 GMT"), Some(0.0));
        let soon = (Utc::now() + chrono::Duration::seconds(60)).format("%a, %d %b %Y %H:%M:%S GMT").to_string();
        assert!((50.0..=60.0).contains(&after(&soon).unwrap()));
        assert_eq!(after("soon"), None);
    }
}
