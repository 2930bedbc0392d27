//! The errors of Tasker's crates, and those that handlers return.

use thiserror::Error;

use crate::registry::MethodDispatchError;
use crate::types::error_types;

/// A result of Tasker's own functions.
pub type TaskerResult<T> = Result<T, TaskerError>;

/// What can go wrong in Tasker's own functions.
#[derive(Debug, Error)]
pub enum TaskerError {
    /// A setting is missing or wrong.
    #[error("{0}")]
    ConfigurationError(String),
    /// A value does not have the shape that it must have.
    #[error("{0}")]
    ValidationError(String),
    /// The worker cannot go on.
    #[error("{0}")]
    WorkerError(String),
    /// The server cannot be reached, or answered with an error.
    #[error("{0}")]
    NetworkError(String),
    /// The server refuses the credentials.
    #[error("{0}")]
    AuthenticationError(String),
    /// JSON that cannot be read or written.
    #[error(transparent)]
    SerializationError(#[from] serde_json::Error),
    /// What a handler returned as its error, unchanged.
    #[error(transparent)]
    HandlerError(#[from] anyhow::Error),
}

impl From<MethodDispatchError> for TaskerError {
    fn from(error: MethodDispatchError) -> Self {
        Self::HandlerError(error.into())
    }
}

/// The errors by which a handler says whether another attempt may help.
///
/// Return one from `call` with `?` or `Err(error.into())`; the worker finds it in the `anyhow::Error`, under any
/// context that was added. An error of any other type counts as retryable.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RustStepHandlerError {
    /// The step failed; the handler knows whether another attempt may help.
    #[error("{message}")]
    ExecutionError {
        /// What happened.
        message: String,
        /// Whether the step is tried again.
        retryable: bool,
    },
    /// The input is wrong: never tried again.
    #[error("{message}")]
    ValidationError {
        /// What is wrong with it.
        message: String,
    },
    /// Something around the handler failed: tried again.
    #[error("{message}")]
    SystemError {
        /// What happened.
        message: String,
    },
    /// A step that this one needs left no result: never tried again.
    #[error("missing the result of step '{step_name}'")]
    MissingDependency {
        /// The step whose result is missing.
        step_name: String,
    },
    /// The task's context lacks a field, or it has another type: never tried again.
    #[error("the field '{field}' of the task's context is missing or invalid")]
    InvalidContext {
        /// The field.
        field: String,
    },
}

impl RustStepHandlerError {
    /// The handler error within an error of any type, under whatever context was added to it.
    pub fn find(error: &anyhow::Error) -> Option<&Self> {
        error.downcast_ref::<Self>().or_else(|| error.chain().find_map(|cause| cause.downcast_ref::<Self>()))
    }

    /// Whether the step is tried again.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::SystemError { .. } | Self::ExecutionError { retryable: true, .. })
    }

    /// The `error_type` of the failure, one of [`error_types`].
    pub fn error_type(&self) -> &'static str {
        match self {
            Self::ValidationError { .. } | Self::InvalidContext { .. } => error_types::VALIDATION_ERROR,
            _ if self.is_retryable() => error_types::RETRYABLE_ERROR,
            _ => error_types::PERMANENT_ERROR,
        }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    fn declined() -> RustStepHandlerError {
        RustStepHandlerError::ExecutionError { message: "card declined".into(), retryable: false }
    }

    #[test]
    fn a_handler_error_is_found_under_added_context() {
        let error = Err::<(), _>(declined()).context("while charging").unwrap_err();
        assert_eq!(RustStepHandlerError::find(&error), Some(&declined()));
        assert_eq!(RustStepHandlerError::find(&anyhow::anyhow!("card declined")), None);
    }

    #[test]
    fn each_kind_says_whether_another_attempt_may_help() {
        let text = String::from;
        let kinds = [
            (declined(), "permanent_error", false),
            (RustStepHandlerError::ExecutionError { message: text("busy"), retryable: true }, "retryable_error", true),
            (RustStepHandlerError::ValidationError { message: text("no") }, "validation_error", false),
            (RustStepHandlerError::SystemError { message: text("disk") }, "retryable_error", true),
            (RustStepHandlerError::MissingDependency { step_name: text("a") }, "permanent_error", false),
            (RustStepHandlerError::InvalidContext { field: text("id") }, "validation_error", false),
        ];
        for (error, error_type, retryable) in kinds {
            assert_eq!((error.error_type(), error.is_retryable()), (error_type, retryable), "{error:?}");
        }
    }
}
