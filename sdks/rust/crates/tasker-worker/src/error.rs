//! Why a worker cannot work.

use tasker_shared::TaskerError;

/// Why a worker does not start, or cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// A setting has a value that cannot be used.
    #[error("{0}")]
    Settings(String),
    /// A template cannot be read, is not valid, or is registered with other content.
    #[error("{0}")]
    Template(String),
    /// The server refuses the credentials, or is no Tasker server.
    #[error("{0}")]
    Refused(String),
    /// The server was not there in time.
    #[error("{0}")]
    ServerUnavailable(String),
    /// The server does not take a request of the worker: a defect.
    #[error("{0}")]
    Protocol(String),
    /// The process cannot give what the worker needs, such as the port of its health checks.
    #[error("{0}")]
    System(String),
}

impl WorkerError {
    /// The exit code of a process that ends with this error: 2 for settings and templates, 4 for refused credentials,
    /// 5 for a server that is not there, 1 for anything else.
    pub fn exit_code(&self) -> u8 {
        match self {
            WorkerError::Settings(_) | WorkerError::Template(_) => 2,
            WorkerError::Refused(_) => 4,
            WorkerError::ServerUnavailable(_) => 5,
            WorkerError::Protocol(_) | WorkerError::System(_) => 1,
        }
    }
}

impl From<WorkerError> for TaskerError {
    fn from(error: WorkerError) -> Self {
        let text = error.to_string();
        match error {
            WorkerError::Settings(_) | WorkerError::Template(_) => TaskerError::ConfigurationError(text),
            WorkerError::Refused(_) => TaskerError::AuthenticationError(text),
            WorkerError::ServerUnavailable(_) => TaskerError::NetworkError(text),
            WorkerError::Protocol(_) | WorkerError::System(_) => TaskerError::WorkerError(text),
        }
    }
}
