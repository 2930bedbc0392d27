//! What is to be done now.

use std::collections::HashSet;
use std::time::Instant;

use tracing::warn;

use super::{Action, Machine, Promise, LOOK, MOST_LEASES, REPORTERS};
use crate::engine::report::{batch_size, LeaseKey, Report};
use crate::execution;
use crate::logging::TARGET;

impl Machine {
    /// Decides what is to be done now.
    pub fn act(&mut self, now: Instant) -> Vec<Action> {
        if self.fatal.is_none() {
            self.end_overdue(now);
            self.end_drain(now);
            self.register(now);
            if self.registered.is_some() {
                self.recover(now);
                self.lease(now);
                self.report(now);
                self.watch(now);
            }
        }
        std::mem::take(&mut self.actions)
    }

    fn register(&mut self, now: Instant) {
        let wanted = self.has_callables && (self.register_wanted || self.registered.is_none());
        if wanted && !self.registering && self.stopping.is_none() && self.registration.is_over(now) {
            self.hang_up_lease(); // it asks for the old callables
            self.registering = true;
            self.register_wanted = false;
            self.actions.push(Action::Register);
        }
    }

    fn recover(&mut self, now: Instant) {
        let due = match self.stopping {
            None => self.contact_lost || (self.cut_short && !self.registering),
            // What reports under way bring is known once their answers are here.
            Some(_) => self.cut_short && self.promises.iter().all(|each| each.want == 0),
        };
        if due && self.recovering.is_none() && self.recovery.is_over(now) {
            self.recovering = Some(HashSet::new());
            self.actions.push(Action::Recover);
        }
    }

    fn lease(&mut self, now: Instant) {
        let limit = self.free().min(MOST_LEASES);
        let unsure = self.contact_lost || self.cut_short || self.registering;
        let may = self.stopping.is_none() && !unsure && self.leasing.is_none();
        let rests = self.idle_until.is_some_and(|until| now < until);
        if may && limit > 0 && !rests && self.claim.is_over(now) {
            let call = self.next_call();
            self.leasing = Some((call, limit));
            self.actions.push(Action::Lease { call, limit });
        }
    }

    fn report(&mut self, now: Instant) {
        let most = self.rules.concurrency.div_ceil(REPORTERS);
        while self.promises.len() < REPORTERS && !self.outbox.is_empty() && self.reporting.is_over(now) {
            let size = batch_size(self.outbox.iter(), most);
            let reports: Vec<Report> = self.outbox.drain(..size).collect();
            // The slots of these results are free once they are recorded; the others are promised to this report,
            // unless they may be taken by grants that are not known yet.
            let slots = if self.cut_short { 0 } else { self.free() };
            let freed = reports.iter().filter(|report| self.frees_slot(report.key)).count();
            let takes_more = self.stopping.is_none() && !self.contact_lost;
            let (slots, want) = if takes_more { (slots, (slots + freed).min(MOST_LEASES)) } else { (0, 0) };
            let promise = Promise { slots, want };
            self.promises.push(promise);
            self.actions.push(Action::Report { reports, promise });
        }
    }

    fn frees_slot(&self, key: LeaseKey) -> bool {
        self.attempts.get(&key).is_none_or(|attempt| attempt.returned)
    }

    fn watch(&mut self, now: Instant) {
        if self.attempts.is_empty() {
            self.seen.clear();
            return;
        }
        if self.next_look.is_some_and(|look| now < look) {
            return;
        }
        let interval = self.registered.as_ref().map_or(LOOK, |known| known.heartbeat() / 2);
        self.next_look = Some(now + LOOK.min(interval));
        let held: HashSet<LeaseKey> = self.attempts.keys().copied().collect();
        let steady: HashSet<LeaseKey> = held.intersection(&self.seen).copied().collect();
        self.seen = held;
        if steady.is_empty() || !self.beating.is_over(now) {
            return;
        }
        match &self.heartbeat {
            Some((_, watched)) if steady.is_subset(watched) => return,
            Some(_) => self.actions.push(Action::AbortHeartbeat),
            None => {}
        }
        let call = self.next_call();
        self.actions.push(Action::Heartbeat { call, leases: steady.iter().copied().collect() });
        self.heartbeat = Some((call, steady));
    }

    fn end_overdue(&mut self, now: Instant) {
        for (&key, attempt) in &mut self.attempts {
            if !attempt.ended && now >= attempt.deadline {
                attempt.ended = true;
                let result = execution::handler_timeout(&attempt.lease, attempt.limit, &self.rules.name);
                self.outbox.push_back(Report::of(&result));
                self.actions.push(Action::Cancel(key));
            }
        }
    }

    fn end_drain(&mut self, now: Instant) {
        let Some(deadline) = self.stopping.filter(|&deadline| now >= deadline && !self.attempts.is_empty()) else {
            return;
        };
        if !self.was_cut {
            self.was_cut = true;
            let seconds = self.rules.shutdown_timeout.as_secs_f64();
            warn!(target: TARGET, running = self.attempts.len(), seconds, "drain_timeout");
            for (&key, attempt) in self.attempts.iter_mut().filter(|(_, attempt)| !attempt.ended) {
                attempt.ended = true;
                self.outbox.push_back(Report::of(&execution::worker_shutdown(&attempt.lease, &self.rules.name)));
                self.actions.push(Action::Cancel(key));
            }
        } else if now >= deadline + self.lease_time() {
            warn!(target: TARGET, count = self.attempts.len(), "leases_left_behind");
            self.stuck.extend(self.attempts.drain().filter(|(_, each)| !each.returned).map(|(key, _)| key));
            self.outbox.clear();
            (self.cut_short, self.recovering, self.releasing) = (false, None, 0);
        }
    }
}
