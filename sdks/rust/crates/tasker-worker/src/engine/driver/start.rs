//! From nothing to a registered worker.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tasker_client::SDK;
use tracing::{info, warn};

use super::{chance, Driver};
use crate::engine::call_error::CallError;
use crate::engine::pause::Pause;
use crate::engine::protocol::{Registered, Registration};
use crate::error::WorkerError;
use crate::execution::hostname;
use crate::logging::TARGET;
use crate::templates::TemplateFile;

impl Driver {
    /// Registers the templates and the worker; waits for a server that is not there yet.
    pub(super) async fn start(&mut self, files: &[TemplateFile]) -> Result<(), WorkerError> {
        let deadline = Instant::now() + self.settings.wait_for;
        for file in files {
            let mut pause = Pause::default();
            let answer = loop {
                let answer = self.server.register_template(file.text.clone()).await;
                match answer.as_ref().map_err(CallError::of) {
                    Err(CallError::Unavailable { reason, retry_after }) => {
                        wait_for_server(&mut pause, deadline, &reason, retry_after).await?;
                    }
                    _ => break answer,
                }
            };
            self.templates.take(&file.path, answer)?;
        }
        let (callables, missing) = self.templates.callables(self.executor.registry().as_ref()).await;
        if !missing.is_empty() {
            let callables: Vec<String> = missing.into_iter().collect();
            warn!(target: TARGET, callables = callables.join(", "), "handlers_missing");
        }
        self.serve_callables(callables);
        let mut pause = Pause::default();
        while !self.callables.is_empty() && self.machine.registered().is_none() {
            match self.server.register(&self.registration()).await {
                Ok(registered) => {
                    self.log_registered(&registered);
                    self.machine.begin(registered);
                }
                Err(CallError::Unavailable { reason, retry_after }) => {
                    wait_for_server(&mut pause, deadline, &reason, retry_after).await?;
                }
                Err(error) => return Err(self.fatal(&error)),
            }
        }
        info!(
            target: TARGET,
            worker = self.settings.worker_id,
            server = self.server.url(),
            namespaces = self.namespaces().map_or_else(|| "all".to_owned(), |names| names.join(", ")),
            handlers = self.callables.len(),
            "worker_started"
        );
        Ok(())
    }

    pub(super) fn registration(&self) -> Registration {
        Registration {
            callables: self.callables.iter().cloned().collect(),
            name: self.settings.worker_id.clone(),
            namespaces: self.namespaces(),
            concurrency: self.settings.max_concurrent,
            sdk: SDK,
            hostname: hostname(),
            pid: std::process::id(),
            lazy_results: true,
            worker_id: self.machine.registered().map(|known| known.worker_id.clone()),
        }
    }

    /// Where to take steps from; `None` is everywhere.
    pub(super) fn namespaces(&self) -> Option<Vec<String>> {
        let mut names = self.templates.namespaces.clone();
        names.extend(self.settings.namespaces.iter().cloned());
        (!names.is_empty()).then(|| names.into_iter().collect())
    }

    pub(super) fn serve_callables(&mut self, callables: BTreeSet<String>) {
        self.machine.callables_changed(!callables.is_empty());
        self.status.update(|now| now.handlers = callables.iter().cloned().collect());
        self.callables = callables;
    }

    pub(super) fn log_registered(&self, registered: &Registered) {
        info!(target: TARGET, server = self.server.url(), worker_id = registered.worker_id, "worker_registered");
    }
}

/// Waits a moment for a server that cannot be reached.
///
/// # Errors
/// The time to wait is up.
async fn wait_for_server(
    pause: &mut Pause,
    deadline: Instant,
    reason: &str,
    retry_after: Option<Duration>,
) -> Result<(), WorkerError> {
    let now = Instant::now();
    if now >= deadline {
        return Err(WorkerError::ServerUnavailable(format!("the server is not there: {reason}")));
    }
    warn!(target: TARGET, duty = "start", reason, "server_unavailable");
    pause.extend(now, retry_after, chance());
    let until = pause.ends().unwrap_or(now).min(deadline);
    tokio::time::sleep_until(until.into()).await;
    Ok(())
}
