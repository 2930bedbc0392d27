//! What the worker does next. Pure: no network, no clock, no threads; events come in, actions go out.

mod bookkeeping;
mod decisions;
mod events;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tasker_shared::wire::LeaseItem;

use crate::engine::call_error::CallError;
use crate::engine::pause::Pause;
use crate::engine::protocol::Registered;
use crate::engine::report::{LeaseKey, Report};

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

    pub(super) fn lease_time(&self) -> Duration {
        self.registered.as_ref().map_or(Duration::ZERO, |known| known.lease())
    }

    pub(super) fn free(&self) -> usize {
        let promised: usize =
            self.promises.iter().map(|each| each.slots).sum::<usize>() + self.leasing.map_or(0, |(_, limit)| limit);
        self.rules.concurrency.saturating_sub(self.attempts.len() + self.stuck.len() + promised)
    }
}
