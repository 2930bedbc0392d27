//! Fetches what leases omit before their handlers run.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use tasker_shared::messaging::StepExecutionResult;
use tasker_shared::wire::LeaseItem;
use tokio::sync::{oneshot, Semaphore};
use tracing::warn;

use super::{chance, Driver, Event};
use crate::engine::call_error::CallError;
use crate::engine::pause::Pause;
use crate::engine::report::LeaseKey;
use crate::engine::results::{Fetched, KeptResults, ResultKey};
use crate::logging::TARGET;

/// Most results that are fetched at once.
const CALLS_AT_ONCE: usize = 4;

/// A result, or none if the step left none; or why it cannot be had.
type Answer = Result<Option<Arc<StepExecutionResult>>, String>;

/// What a lease omits, and where it comes in.
pub(super) struct Omitted {
    pub(super) step: String,
    pub(super) answer: oneshot::Receiver<Answer>,
}

/// A result that is being fetched.
#[derive(Default)]
struct Wanted {
    /// The leases that wait for it.
    waiting: Vec<(LeaseKey, oneshot::Sender<Answer>)>,
    pause: Pause,
}

pub(super) struct Results {
    pub(super) kept: KeptResults,
    wanted: HashMap<ResultKey, Wanted>,
    calls: Arc<Semaphore>,
}

impl Results {
    pub(super) fn new() -> Self {
        let calls = Arc::new(Semaphore::new(CALLS_AT_ONCE));
        Self { kept: KeptResults::default(), wanted: HashMap::new(), calls }
    }
}

impl Driver {
    /// Asks for everything that a lease omits.
    pub(super) fn want_results(&mut self, lease: &LeaseItem) -> Vec<Omitted> {
        let (task_uuid, reruns) = (lease.task_sequence_step.task.task.task_uuid, lease.reruns);
        let keys = lease.omitted_results.iter().map(|step| ResultKey { task_uuid, reruns, step: step.clone() });
        keys.map(|key| Omitted { step: key.step.clone(), answer: self.want(key, LeaseKey::of(lease)) }).collect()
    }

    fn want(&mut self, key: ResultKey, lease: LeaseKey) -> oneshot::Receiver<Answer> {
        let (sender, receiver) = oneshot::channel();
        if let Some(result) = self.results.kept.get(&key, Instant::now()) {
            let _ = sender.send(Ok(Some(result)));
            return receiver;
        }
        let under_way = self.results.wanted.contains_key(&key);
        self.results.wanted.entry(key.clone()).or_default().waiting.push((lease, sender));
        if !under_way {
            self.fetch(key);
        }
        receiver
    }

    /// Fetches a result in the name of a lease that still waits for it.
    fn fetch(&mut self, key: ResultKey) {
        let Some(wanted) = self.results.wanted.get_mut(&key) else {
            return;
        };
        wanted.waiting.retain(|(_, answer)| !answer.is_closed());
        let lease = wanted.waiting.first().map(|&(lease, _)| lease);
        let (Some(lease), Some(known)) = (lease, self.machine.registered().cloned()) else {
            self.results.wanted.remove(&key); // without a registration, there are no leases
            return;
        };
        let pause = wanted.pause.ends();
        let (server, epoch, calls) = (self.server.clone(), self.machine.epoch(), Arc::clone(&self.results.calls));
        self.calls.spawn(async move {
            if let Some(end) = pause {
                tokio::time::sleep_until(end.into()).await;
            }
            let _permit = calls.acquire().await;
            let answer = server.result(&known.worker_id, lease, &key.step).await;
            Event::Fetched { key, lease, epoch, answer }
        });
    }

    pub(super) fn result_fetched(&mut self, key: ResultKey, fetched: Option<Fetched>) {
        let wanted = self.results.wanted.remove(&key).unwrap_or_default();
        for (_, answer) in wanted.waiting {
            let _ = answer.send(Ok(fetched.as_ref().map(|fetched| Arc::clone(&fetched.result))));
        }
        if let Some(fetched) = fetched {
            self.results.kept.keep(key, fetched, Instant::now());
        }
    }

    /// An error that will not pass concerns only the lease in whose name the call was made.
    pub(super) fn fetch_failed(&mut self, key: ResultKey, lease: LeaseKey, epoch: u64, error: CallError) {
        if matches!(error, CallError::WorkerUnknown) {
            self.machine.on_worker_unknown(epoch);
        }
        if let Some(wanted) = self.results.wanted.get_mut(&key) {
            match error {
                CallError::Unavailable { reason, retry_after } => {
                    warn!(target: TARGET, duty = "results", reason, "server_unavailable");
                    wanted.pause.extend(Instant::now(), retry_after, chance());
                }
                error => {
                    let refused = wanted.waiting.iter().position(|(waiting, _)| *waiting == lease);
                    if let Some((_, answer)) = refused.map(|position| wanted.waiting.swap_remove(position)) {
                        let _ = answer.send(Err(error.reason().to_owned()));
                    }
                }
            }
        }
        self.fetch(key);
    }
}
