//! What a worker says of itself while it runs.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::Serialize;

/// What a worker does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerState {
    /// It has not taken up work yet.
    #[default]
    Starting,
    /// It takes steps.
    Running,
    /// It has no handlers, and waits for some to be registered.
    NoHandlers,
    /// Its server is away; handlers run on.
    Disconnected,
    /// It takes no more steps, and ends what it runs.
    Stopping,
    /// It has ended.
    Stopped,
}

/// A look at a worker.
#[derive(Clone, Debug, Default, Serialize)]
pub struct WorkerSystemStatus {
    /// What it does.
    pub status: WorkerState,
    /// Its name in the history.
    pub worker_id: String,
    /// Whether it runs, if only to end what it has begun.
    pub running: bool,
    /// Attempts whose end was recorded.
    pub processed: u64,
    /// Those of them that failed.
    pub failed: u64,
    /// Handlers that run, or whose results are on their way.
    pub active: usize,
    /// Seconds since it was started.
    pub uptime_seconds: f64,
    /// The server's URL.
    pub server: String,
    /// Whether the server answered the last time that it was asked.
    pub connected: bool,
    /// The callables that it serves.
    pub handlers: Vec<String>,
}

/// The status that the worker's thread writes and others read.
#[derive(Debug)]
pub(crate) struct SharedStatus {
    started: Instant,
    now: Mutex<WorkerSystemStatus>,
}

impl SharedStatus {
    pub fn new(worker_id: &str, server: &str) -> Self {
        let status = WorkerSystemStatus {
            worker_id: worker_id.to_owned(),
            server: server.to_owned(),
            running: true,
            ..WorkerSystemStatus::default()
        };
        Self { started: Instant::now(), now: Mutex::new(status) }
    }

    pub fn read(&self) -> WorkerSystemStatus {
        WorkerSystemStatus { uptime_seconds: self.started.elapsed().as_secs_f64(), ..self.lock().clone() }
    }

    pub fn update(&self, change: impl FnOnce(&mut WorkerSystemStatus)) {
        change(&mut self.lock());
    }

    fn lock(&self) -> MutexGuard<'_, WorkerSystemStatus> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
