//! What the worker holds, and how it lets go.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tasker_shared::wire::LeaseItem;
use tracing::{error, warn};

use super::{Action, Attempt, Machine, Promise};
use crate::engine::call_error::CallError;
use crate::engine::protocol::Leased;
use crate::engine::report::{LeaseKey, Report};
use crate::logging::TARGET;

impl Machine {
    pub(super) fn next_call(&mut self) -> u64 {
        self.calls += 1;
        self.calls
    }

    pub(super) fn holds(&self, key: LeaseKey) -> bool {
        self.attempts.contains_key(&key) || self.stuck.contains(&key)
    }

    pub(super) fn start(&mut self, leases: Vec<Leased>, now: Instant) {
        for leased in leases {
            if self.holds(leased.key()) {
                continue;
            }
            match leased {
                Leased::Step(lease) => self.start_one(Arc::new(*lease), now),
                Leased::Unreadable { key, reason } => {
                    error!(target: TARGET, step_uuid = %key.step_uuid, reason, "lease_unreadable");
                    self.outbox.push_back(Report::unreadable(key, &reason));
                }
            }
        }
    }

    pub(super) fn start_one(&mut self, lease: Arc<LeaseItem>, now: Instant) {
        let seconds = lease.task_sequence_step.step_definition.timeout_seconds.filter(|&seconds| seconds > 0);
        let limit = seconds.map_or(self.rules.handler_timeout, Duration::from_secs);
        let attempt =
            Attempt { lease: Arc::clone(&lease), limit, deadline: now + limit, ended: false, returned: false };
        self.attempts.insert(LeaseKey::of(&lease), attempt);
        self.actions.push(Action::Start(lease));
    }

    pub(super) fn give_back(&mut self, leases: &[Leased]) {
        if !leases.is_empty() {
            self.releasing += 1;
            self.actions.push(Action::Release { leases: leases.iter().map(Leased::key).collect() });
        }
    }

    pub(super) fn lose(&mut self, key: LeaseKey) {
        let Some(attempt) = self.attempts.get(&key).filter(|attempt| !attempt.ended) else {
            return; // its report is on its way, and will be refused
        };
        let step = &attempt.lease.task_sequence_step.workflow_step.name;
        warn!(target: TARGET, step, step_uuid = %key.step_uuid, lease_id = key.lease_id, "lease_lost");
        if !attempt.returned {
            self.actions.push(Action::Cancel(key));
        }
        self.forget(key);
    }

    pub(super) fn forget(&mut self, key: LeaseKey) {
        if self.attempts.remove(&key).is_some_and(|attempt| !attempt.returned) {
            self.stuck.insert(key);
        }
        if let Some(settled) = &mut self.recovering {
            settled.insert(key);
        }
    }

    /// The server does not know the worker any more: what it held is lost.
    pub(super) fn forget_everything(&mut self) {
        warn!(target: TARGET, held = self.attempts.len(), "worker_unknown");
        self.hang_up_lease();
        self.hang_up_heartbeat();
        for key in self.attempts.keys().copied().collect::<Vec<_>>() {
            self.lose(key);
            self.forget(key);
        }
        self.outbox.clear();
        self.registered = None;
        self.epoch += 1;
        self.recovering = None;
        (self.cut_short, self.contact_lost) = (false, false);
    }

    pub(super) fn settle_promise(&mut self, promise: Promise) {
        if let Some(position) = self.promises.iter().position(|&each| each == promise) {
            self.promises.swap_remove(position);
        }
    }

    pub(super) fn hang_up_lease(&mut self) {
        if self.leasing.take().is_some() {
            self.cut_short = true;
            self.actions.push(Action::AbortLease);
        }
    }

    pub(super) fn hang_up_heartbeat(&mut self) {
        if self.heartbeat.take().is_some() {
            self.actions.push(Action::AbortHeartbeat);
        }
    }

    /// Takes in what a failed call means. Returns the pause that the server asks for if the call may be tried again.
    pub(super) fn failed(
        &mut self,
        duty: &str,
        epoch: u64,
        error: CallError,
        now: Instant,
        chance: f64,
    ) -> Option<Option<Duration>> {
        match error {
            CallError::Unavailable { reason, retry_after } => {
                warn!(target: TARGET, duty, reason, "server_unavailable");
                self.contact_lost = true;
                self.hang_up_lease();
                if self.recovery.is_over(now) {
                    self.recovery.extend(now, retry_after, chance);
                }
                return Some(retry_after);
            }
            CallError::WorkerUnknown => self.on_worker_unknown(epoch),
            error => self.fatal = Some(error),
        }
        None
    }

    /// Finds the result that the server cannot take, and fails that step alone.
    pub(super) fn report_apart(&mut self, reports: Vec<Report>, reason: &str) {
        if let [report] = reports.as_slice() {
            self.replace_refused(report.clone(), reason);
            return;
        }
        for report in reports.into_iter().rev() {
            self.outbox.push_front(Report { alone: true, ..report });
        }
    }

    /// Reports a failure instead of what the server cannot take.
    pub(super) fn replace_refused(&mut self, report: Report, reason: &str) {
        let key = report.key;
        error!(target: TARGET, step_uuid = %key.step_uuid, lease_id = key.lease_id, reason, "report_failed");
        if report.is_refusal {
            self.forget(key); // not even the failure can be recorded: the lease will run out
        } else {
            self.outbox.push_back(Report::refused(key, reason));
        }
    }
}
