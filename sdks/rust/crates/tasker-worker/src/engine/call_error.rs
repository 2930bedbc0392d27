//! What a failed call to the server means for the worker.

use std::time::Duration;

use tasker_client::ClientError;

/// How a call failed, by what there is to do about it.
#[derive(Clone, Debug)]
pub enum CallError {
    /// Not now: another try may help.
    Unavailable {
        /// What happened.
        reason: String,
        /// How long the server asks to wait.
        retry_after: Option<Duration>,
    },
    /// The server does not know the worker, or not any more.
    WorkerUnknown,
    /// The credentials are refused, or this is no Tasker server: no other try will help.
    Refused(String),
    /// The request is wrong; the same one again would be, too.
    Wrong(String),
}

impl CallError {
    /// The meaning of an error of the client.
    pub fn of(error: &ClientError) -> Self {
        if error.code.as_deref() == Some("WORKER_UNKNOWN") {
            return CallError::WorkerUnknown;
        }
        let retry_after = error.retry_after.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        match error.status {
            None | Some(200..=299 | 408 | 425 | 429 | 500..) => {
                CallError::Unavailable { reason: error.to_string(), retry_after }
            }
            Some(400 | 409 | 413 | 422) => CallError::Wrong(error.to_string()),
            Some(status) => CallError::Refused(format!("{status}: {error}")),
        }
    }

    /// What happened, for people.
    pub fn reason(&self) -> &str {
        match self {
            CallError::Unavailable { reason, .. } | CallError::Refused(reason) | CallError::Wrong(reason) => reason,
            CallError::WorkerUnknown => "the server does not know the worker",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning(status: u16, body: &str) -> CallError {
        CallError::of(&ClientError::of_answer(status, &Default::default(), body.as_bytes()))
    }

    #[test]
    fn each_status_has_its_meaning() {
        for status in [408, 429, 500, 502, 503] {
            assert!(matches!(meaning(status, ""), CallError::Unavailable { .. }), "{status}");
        }
        for status in [400, 413, 422] {
            assert!(matches!(meaning(status, ""), CallError::Wrong(_)), "{status}");
        }
        for status in [401, 403, 404] {
            assert!(matches!(meaning(status, ""), CallError::Refused(_)), "{status}");
        }
        let unknown = r#"{"error": {"code": "WORKER_UNKNOWN", "message": "register again"}}"#;
        for status in [404, 410] {
            assert!(matches!(meaning(status, unknown), CallError::WorkerUnknown), "{status}");
        }
    }
}
