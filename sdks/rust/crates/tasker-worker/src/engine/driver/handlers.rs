//! Runs handlers on their runtime, and takes in how they end.

use std::sync::Arc;
use std::time::Instant;

use tasker_shared::wire::{LeaseItem, WireResult};
use tokio::task::{Id, JoinError};
use tracing::debug;

use super::results::Omitted;
use super::Driver;
use crate::engine::report::{Ending, LeaseKey, Report};
use crate::execution;
use crate::logging::TARGET;

/// A handler that runs, or waits for what its lease omits.
pub(super) struct Running {
    key: LeaseKey,
    step: String,
    started: Instant,
}

impl Driver {
    pub(super) fn start_handler(&mut self, lease: Arc<LeaseItem>) {
        let key = LeaseKey::of(&lease);
        let step = lease.task_sequence_step.workflow_step.name.clone();
        debug!(target: TARGET, step, step_uuid = %key.step_uuid, attempt = lease.attempt, "step_started");
        let omitted = self.want_results(&lease);
        let (executor, name) = (self.executor.clone(), self.settings.worker_id.clone());
        let task = async move {
            match fill_in(lease, omitted, &name).await {
                Ok(lease) => Report::of(&executor.execute(&lease).await),
                Err(failure) => Report::of(&failure),
            }
        };
        let handler = self.handlers.spawn_on(task, &self.runtime);
        self.by_task.insert(handler.id(), Running { key, step, started: Instant::now() });
        self.by_lease.insert(key, handler);
    }

    pub(super) fn handler_ended(&mut self, ended: Result<(Id, Report), JoinError>) {
        let (task, report) = match ended {
            Ok((task, report)) => (task, Some(report)),
            Err(error) => (error.id(), None),
        };
        let Some(Running { key, step, started }) = self.by_task.remove(&task) else {
            return;
        };
        self.by_lease.remove(&key);
        let success = report.as_ref().map(|report| report.ending != Ending::Failed);
        let milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        debug!(target: TARGET, step, step_uuid = %key.step_uuid, success, milliseconds, "step_ended");
        self.machine.on_returned(key, report);
    }
}

/// Waits for what a lease omits, and fills it in: each lease has its own copy, as if it had come with it.
///
/// # Errors
/// A result cannot be had; the attempt's failure.
async fn fill_in(
    mut lease: Arc<LeaseItem>,
    omitted: Vec<Omitted>,
    worker_name: &str,
) -> Result<Arc<LeaseItem>, Box<WireResult>> {
    for Omitted { step, answer } in omitted {
        match answer.await.unwrap_or_else(|_| Err("the worker has lost its registration".to_owned())) {
            Ok(None) => {}
            Ok(Some(result)) => {
                let results = &mut Arc::make_mut(&mut lease).task_sequence_step.dependency_results;
                results.insert(step, Arc::unwrap_or_clone(result));
            }
            Err(reason) => {
                return Err(Box::new(execution::result_unavailable(&lease, &step, &reason, worker_name)));
            }
        }
    }
    Ok(lease)
}
