//! What the worker does next. Pure: no network, no clock, no threads; events come in, actions go out.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tasker_shared::wire::LeaseItem;
use tracing::{error, warn};

use crate::engine::call_error::CallError;
use crate::engine::pause::Pause;
use crate::engine::protocol::{Leased, Refusal, Registered, ReportAnswer};
use crate::engine::report::{batch_size, Ending, LeaseKey, Report};
use crate::execution;
use crate::logging::TARGET;

/// Most steps that one call may ask for.
const MOST_LEASES: usize = 1_000;

/// Reports under way at once: while the server records one batch, the next one fills.
const REPORTERS: usize = 2;

/// Pause after a claim that was answered at once with nothing, as by a server that is about to stop.
const IDLE_PAUSE: Duration = Duration::from_secs(1);

/// Time between looks at what is running. A lease that two looks find is kept by heartbeats.
const LOOK: Duration = Duration::from_millis(500);

/// What to do. Each of the calls ends with one event, unless it is aborted.
#[derive(Debug)]
pub enum Action {
    /// Register; with the worker's id, if it has one, to replace its callables.
    Register,
    /// Lease up to `limit` steps, and wait for them.
    Lease { call: u64, limit: usize },
    /// Hang up the lease call.
    AbortLease,
    /// Report, and ask for as many steps as were promised.
    Report { reports: Vec<Report>, promise: Promise },
    /// Ask for everything that is leased to this worker.
    Recover,
    /// Renew leases, and wait for news of them.
    Heartbeat { call: u64, leases: Vec<LeaseKey> },
    /// Hang up the heartbeat.
    AbortHeartbeat,
    /// Give leases back.
    Release { leases: Vec<LeaseKey> },
    /// Run a handler.
    Start(Arc<LeaseItem>),
    /// Drop a handler that runs.
    Cancel(LeaseKey),
}

/// How the worker works.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Handlers at once.
    pub concurrency: usize,
    /// How long a handler may run if its step does not say.
    pub handler_timeout: Duration,
    /// How long running handlers have once the worker stops.
    pub shutdown_timeout: Duration,
    /// The worker's name.
    pub name: String,
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Steps that succeeded, and were recorded.
    pub succeeded: u64,
    /// Attempts that failed, and were recorded.
    pub failed: u64,
}

struct Attempt {
    lease: Arc<LeaseItem>,
    limit: Duration,
    deadline: Instant,
    /// Its report is made; whatever the handler still returns is void.
    ended: bool,
    /// The handler does not run, or not any more.
    returned: bool,
}

/// What a report under way may bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promise {
    /// Free slots that are kept for its answer.
    slots: usize,
    /// The steps that it asks for.
    pub want: usize,
}

/// The worker's state, and its decisions.
pub struct Machine {
    rules: Rules,
    actions: Vec<Action>,
    registered: Option<Registered>,
    registering: bool,
    register_wanted: bool,
    has_callables: bool,
    /// Counts registrations, so that answers to a forgotten one are known.
    epoch: u64,
    attempts: HashMap<LeaseKey, Attempt>,
    /// Handlers that were given up but have not returned; each keeps its slot.
    stuck: HashSet<LeaseKey>,
    outbox: VecDeque<Report>,
    calls: u64,
    leasing: Option<(u64, usize)>,
    /// A claim was cut short while the server may have been granting it.
    cut_short: bool,
    promises: Vec<Promise>,
    contact_lost: bool,
    /// While `recover` is under way: what was settled meanwhile, although the answer may still name it.
    recovering: Option<HashSet<LeaseKey>>,
    releasing: usize,
    heartbeat: Option<(u64, HashSet<LeaseKey>)>,
    seen: HashSet<LeaseKey>,
    next_look: Option<Instant>,
    /// No claim before then: the last one brought nothing, at once.
    idle_until: Option<Instant>,
    claim: Pause,
    reporting: Pause,
    recovery: Pause,
    registration: Pause,
    beating: Pause,
    stopping: Option<Instant>,
    was_cut: bool,
    fatal: Option<CallError>,
    /// What was counted.
    pub counts: Counts,
}

impl Machine {
    /// A worker that has not registered yet.
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            actions: Vec::new(),
            registered: None,
            registering: false,
            register_wanted: false,
            has_callables: false,
            epoch: 0,
            attempts: HashMap::new(),
            stuck: HashSet::new(),
            outbox: VecDeque::new(),
            calls: 0,
            leasing: None,
            cut_short: false,
            promises: Vec::new(),
            contact_lost: false,
            recovering: None,
            releasing: 0,
            heartbeat: None,
            seen: HashSet::new(),
            next_look: None,
            idle_until: None,
            claim: Pause::default(),
            reporting: Pause::default(),
            recovery: Pause::default(),
            registration: Pause::default(),
            beating: Pause::default(),
            stopping: None,
            was_cut: false,
            fatal: None,
            counts: Counts::default(),
        }
    }

    // -- what others ask

    /// The registration that counts just now.
    pub fn registered(&self) -> Option<&Registered> {
        self.registered.as_ref()
    }

    /// The number of the registration that counts just now.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Handlers that run, or whose results are on their way.
    pub fn active(&self) -> usize {
        self.attempts.len() + self.stuck.len()
    }

    /// Whether the server answered the last time that it was asked.
    pub fn in_contact(&self) -> bool {
        self.registered.is_some() && !self.contact_lost
    }

    /// Why the worker cannot go on.
    pub fn fatal(&self) -> Option<&CallError> {
        self.fatal.as_ref()
    }

    /// Whether there is nothing left to do.
    pub fn is_done(&self) -> bool {
        self.fatal.is_some()
            || (self.stopping.is_some()
                && self.attempts.is_empty()
                && !self.cut_short
                && self.recovering.is_none()
                && self.releasing == 0)
    }

    /// When to call [`act`](Self::act) again, if nothing happens before; `now` is that of the last call.
    pub fn next_time(&self, now: Instant) -> Option<Instant> {
        let deadlines = self.attempts.values().filter(|attempt| !attempt.ended).map(|attempt| attempt.deadline);
        let pauses = [&self.claim, &self.reporting, &self.recovery, &self.registration, &self.beating];
        let look = self.next_look.filter(|_| !self.attempts.is_empty());
        let drain = self.stopping.map(|deadline| match self.was_cut {
            true => deadline + self.lease_time(),
            false => deadline,
        });
        deadlines
            .chain(pauses.into_iter().filter_map(Pause::ends))
            .chain(look)
            .chain(drain)
            .chain(self.idle_until)
            .filter(|&time| time > now)
            .min()
    }

    fn lease_time(&self) -> Duration {
        self.registered.as_ref().map_or(Duration::ZERO, |known| known.lease())
    }

    fn free(&self) -> usize {
        let promised: usize =
            self.promises.iter().map(|each| each.slots).sum::<usize>() + self.leasing.map_or(0, |(_, limit)| limit);
        self.rules.concurrency.saturating_sub(self.attempts.len() + self.stuck.len() + promised)
    }

    // -- events

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

    /// Lease no more; the worker is done when what it runs is done and reported.
    pub fn stop(&mut self, now: Instant) {
        if self.stopping.is_none() {
            self.stopping = Some(now + self.rules.shutdown_timeout);
            self.hang_up_lease();
        }
    }

    // -- decisions

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
            self.registering = true;
            self.register_wanted = false;
            self.actions.push(Action::Register);
        }
    }

    fn recover(&mut self, now: Instant) {
        let due = match self.stopping {
            None => self.contact_lost,
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
        let may = self.stopping.is_none() && !self.contact_lost && self.leasing.is_none();
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
            let slots = if self.stopping.is_some() || self.contact_lost { 0 } else { self.free() };
            // The slots of these results are free once they are recorded; the others are promised to this report.
            let freed = reports.iter().filter(|report| self.frees_slot(report.key)).count();
            let want = if self.stopping.is_some() || self.contact_lost { 0 } else { slots + freed };
            let want = want.min(MOST_LEASES);
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

    // -- bookkeeping

    fn next_call(&mut self) -> u64 {
        self.calls += 1;
        self.calls
    }

    fn holds(&self, key: LeaseKey) -> bool {
        self.attempts.contains_key(&key) || self.stuck.contains(&key)
    }

    fn start(&mut self, leases: Vec<Leased>, now: Instant) {
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

    fn start_one(&mut self, lease: Arc<LeaseItem>, now: Instant) {
        let seconds = lease.task_sequence_step.step_definition.timeout_seconds.filter(|&seconds| seconds > 0);
        let limit = seconds.map_or(self.rules.handler_timeout, Duration::from_secs);
        let attempt =
            Attempt { lease: Arc::clone(&lease), limit, deadline: now + limit, ended: false, returned: false };
        self.attempts.insert(LeaseKey::of(&lease), attempt);
        self.actions.push(Action::Start(lease));
    }

    fn give_back(&mut self, leases: &[Leased]) {
        if !leases.is_empty() {
            self.releasing += 1;
            self.actions.push(Action::Release { leases: leases.iter().map(Leased::key).collect() });
        }
    }

    fn lose(&mut self, key: LeaseKey) {
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

    fn forget(&mut self, key: LeaseKey) {
        if self.attempts.remove(&key).is_some_and(|attempt| !attempt.returned) {
            self.stuck.insert(key);
        }
        if let Some(settled) = &mut self.recovering {
            settled.insert(key);
        }
    }

    /// The server does not know the worker any more: what it held is lost.
    fn forget_everything(&mut self) {
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

    fn settle_promise(&mut self, promise: Promise) {
        if let Some(position) = self.promises.iter().position(|&each| each == promise) {
            self.promises.swap_remove(position);
        }
    }

    fn hang_up_lease(&mut self) {
        if self.leasing.take().is_some() {
            self.cut_short = true;
            self.actions.push(Action::AbortLease);
        }
    }

    fn hang_up_heartbeat(&mut self) {
        if self.heartbeat.take().is_some() {
            self.actions.push(Action::AbortHeartbeat);
        }
    }

    /// Takes in what a failed call means. Returns the pause that the server asks for if the call may be tried again.
    fn failed(
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
            CallError::WorkerUnknown if epoch == self.epoch && self.registered.is_some() => self.forget_everything(),
            CallError::WorkerUnknown => {}
            error => self.fatal = Some(error),
        }
        None
    }

    /// Finds the result that the server cannot take, and fails that step alone.
    fn report_apart(&mut self, reports: Vec<Report>, reason: &str) {
        if let [report] = reports.as_slice() {
            self.replace_refused(report.clone(), reason);
            return;
        }
        for report in reports.into_iter().rev() {
            self.outbox.push_front(Report { alone: true, ..report });
        }
    }

    /// Reports a failure instead of what the server cannot take.
    fn replace_refused(&mut self, report: Report, reason: &str) {
        let key = report.key;
        error!(target: TARGET, step_uuid = %key.step_uuid, lease_id = key.lease_id, reason, "report_failed");
        if report.is_refusal {
            self.forget(key); // not even the failure can be recorded: the lease will run out
        } else {
            self.outbox.push_back(Report::refused(key, reason));
        }
    }
}

fn late_result(key: LeaseKey) {
    warn!(target: TARGET, step_uuid = %key.step_uuid, lease_id = key.lease_id, "late_result_dropped");
}
