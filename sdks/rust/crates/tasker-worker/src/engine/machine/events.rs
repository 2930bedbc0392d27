//! What happened, and what it changes.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tracing::{error, warn};

use super::{Machine, Promise, IDLE_PAUSE};
use crate::engine::call_error::CallError;
use crate::engine::protocol::{Leased, Refusal, Registered, ReportAnswer};
use crate::engine::report::{Ending, LeaseKey, Report};
use crate::execution;
use crate::logging::TARGET;

impl Machine {
    /// The registry has handlers for these callables, or for others than before.
    pub fn callables_changed(&mut self, any: bool) {
        self.has_callables = any;
        self.register_wanted = any;
    }

    /// The worker was registered before it began to work, with all its callables.
    pub fn begin(&mut self, registered: Registered) {
        self.register_wanted = false;
        self.on_registered(registered);
    }

    /// Registration succeeded.
    pub fn on_registered(&mut self, registered: Registered) {
        self.registering = false;
        self.registration.reset();
        if self.registered.as_ref().is_none_or(|known| known.worker_id != registered.worker_id) {
            self.epoch += 1;
            self.contact_lost = false;
        }
        self.registered = Some(registered);
    }

    /// Registration failed.
    pub fn on_register_failed(&mut self, error: CallError, now: Instant, chance: f64) {
        self.registering = false;
        self.register_wanted = true;
        match error {
            CallError::Unavailable { reason, retry_after } => {
                warn!(target: TARGET, duty = "register", reason, "server_unavailable");
                self.registration.extend(now, retry_after, chance);
            }
            CallError::WorkerUnknown => self.forget_everything(),
            error => self.fatal = Some(error),
        }
    }

    /// A lease call was answered after `took`.
    pub fn on_leased(&mut self, call: u64, leases: Vec<Leased>, took: Duration, now: Instant) {
        if self.leasing.is_none_or(|(known, _)| known != call) {
            return;
        }
        self.leasing = None;
        self.claim.reset();
        if self.stopping.is_some() {
            self.give_back(&leases);
            return;
        }
        if leases.is_empty() && took < IDLE_PAUSE {
            self.idle_until = Some(now + IDLE_PAUSE);
        }
        self.start(leases, now);
    }

    /// A lease call failed.
    pub fn on_lease_failed(&mut self, call: u64, epoch: u64, error: CallError, now: Instant, chance: f64) {
        if self.leasing.is_none_or(|(known, _)| known != call) {
            return;
        }
        self.leasing = None;
        self.cut_short = true;
        if let Some(retry_after) = self.failed("lease", epoch, error, now, chance) {
            self.claim.extend(now, retry_after, chance);
        }
    }

    /// A handler returned, with its report; without one if it was dropped.
    pub fn on_returned(&mut self, key: LeaseKey, report: Option<Report>) {
        let Some(attempt) = self.attempts.get_mut(&key) else {
            self.stuck.remove(&key);
            if report.is_some() {
                late_result(key);
            }
            return;
        };
        attempt.returned = true;
        if !attempt.ended {
            // Dropped without our doing: the runtime that handlers run on is going away.
            let cut = || Report::of(&execution::worker_shutdown(&attempt.lease, &self.rules.name));
            let report = report.unwrap_or_else(cut);
            attempt.ended = true;
            self.outbox.push_back(report);
        } else if report.is_some() {
            late_result(key);
        }
    }

    /// A report was recorded.
    pub fn on_reported(&mut self, promise: Promise, reports: Vec<Report>, answer: ReportAnswer, now: Instant) {
        self.settle_promise(promise);
        self.reporting.reset();
        let mut refused: HashMap<LeaseKey, Refusal> =
            answer.refused.into_iter().filter_map(|refusal| Some((refusal.key()?, refusal))).collect();
        for report in reports {
            match refused.remove(&report.key) {
                Some(refusal) if refusal.is_about_content() => self.replace_refused(report, &refusal.text()),
                Some(refusal) => {
                    let key = report.key;
                    warn!(target: TARGET, step_uuid = %key.step_uuid, lease_id = key.lease_id, reason = refusal.text(), "report_refused");
                    self.forget(key);
                }
                None => {
                    match report.ending {
                        Ending::Succeeded => self.counts.succeeded += 1,
                        Ending::Failed => self.counts.failed += 1,
                        Ending::Checkpoint => {}
                    }
                    self.forget(report.key);
                }
            }
        }
        if self.stopping.is_some() {
            self.give_back(&answer.leases);
        } else {
            self.start(answer.leases, now);
        }
        if answer.more_ready {
            self.idle_until = None;
        }
    }

    /// A report could not be recorded.
    pub fn on_report_failed(
        &mut self,
        promise: Promise,
        reports: Vec<Report>,
        epoch: u64,
        error: CallError,
        now: Instant,
        chance: f64,
    ) {
        self.settle_promise(promise);
        if epoch != self.epoch {
            return; // what it reported was forgotten together with the registration
        }
        match error {
            CallError::Wrong(reason) => self.report_apart(reports, &reason),
            error => {
                for report in reports.into_iter().rev() {
                    self.outbox.push_front(report);
                }
                if let Some(retry_after) = self.failed("report", epoch, error, now, chance) {
                    self.reporting.extend(now, retry_after, chance);
                }
            }
        }
    }

    /// The server named everything that it holds leased to this worker.
    pub fn on_recovered(&mut self, epoch: u64, leases: Vec<Leased>, now: Instant) {
        let Some(settled) = self.recovering.take_if(|_| epoch == self.epoch) else {
            return;
        };
        self.recovery.reset();
        self.contact_lost = false;
        self.cut_short = false;
        let unknown: Vec<Leased> =
            leases.into_iter().filter(|each| !settled.contains(&each.key()) && !self.holds(each.key())).collect();
        if self.stopping.is_some() {
            self.give_back(&unknown);
        } else {
            self.start(unknown, now);
        }
    }

    /// Recovering failed.
    pub fn on_recover_failed(&mut self, epoch: u64, error: CallError, now: Instant, chance: f64) {
        if epoch != self.epoch {
            return;
        }
        self.recovering = None;
        if self.stopping.is_some() {
            self.cut_short = false; // then those leases run out
        }
        self.failed("recover", epoch, error, now, chance);
    }

    /// Giving back ended, one way or the other: what was not given back runs out.
    pub fn on_released(&mut self, failed: Option<CallError>) {
        self.releasing -= 1;
        if let Some(error) = failed {
            warn!(target: TARGET, duty = "release", reason = ?error, "server_unavailable");
        }
    }

    /// A heartbeat was answered.
    pub fn on_heartbeat(&mut self, call: u64, lost: &[LeaseKey]) {
        if self.heartbeat.as_ref().is_none_or(|(known, _)| *known != call) {
            return;
        }
        self.heartbeat = None;
        self.beating.reset();
        for &key in lost {
            self.lose(key);
        }
    }

    /// A heartbeat failed.
    pub fn on_heartbeat_failed(&mut self, call: u64, epoch: u64, error: CallError, now: Instant, chance: f64) {
        if self.heartbeat.as_ref().is_none_or(|(known, _)| *known != call) {
            return;
        }
        self.heartbeat = None;
        if let CallError::Wrong(reason) = &error {
            error!(target: TARGET, reason, "heartbeat_failed");
            self.beating.extend(now, None, chance);
        } else if let Some(retry_after) = self.failed("heartbeat", epoch, error, now, chance) {
            self.beating.extend(now, retry_after, chance);
        }
    }

    /// A call in the name of a registration was told that the server does not know it.
    pub fn on_worker_unknown(&mut self, epoch: u64) {
        if epoch == self.epoch && self.registered.is_some() {
            self.forget_everything();
        }
    }

    /// Lease no more; the worker is done when what it runs is done and reported.
    pub fn stop(&mut self, now: Instant) {
        if self.stopping.is_none() {
            self.stopping = Some(now + self.rules.shutdown_timeout);
            self.hang_up_lease();
        }
    }
}

fn late_result(key: LeaseKey) {
    warn!(target: TARGET, step_uuid = %key.step_uuid, lease_id = key.lease_id, "late_result_dropped");
}
