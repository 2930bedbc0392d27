//! Does what the machine decides, on the worker's own thread, so that handlers never keep it from its duties.

mod handlers;
mod results;
mod start;

use std::collections::hash_map::RandomState;
use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tracing::{info, warn};

use crate::engine::call_error::CallError;
use crate::engine::machine::{Action, Machine, Promise, Rules};
use crate::engine::protocol::{Leased, Registered, ReportAnswer};
use crate::engine::report::{LeaseKey, Report};
use crate::engine::results::{Fetched, ResultKey};
use crate::engine::server::Server;
use crate::error::WorkerError;
use crate::logging::TARGET;
use crate::settings::WorkerSettings;
use crate::status::{SharedStatus, WorkerState};
use crate::templates;
use crate::worker::handlers::HandlerExecutor;

/// Time between looks for handlers that were registered meanwhile.
const REGISTRY_LOOK: Duration = Duration::from_millis(250);

/// Time until the next look at the clock if nothing is due.
const LONG: Duration = Duration::from_secs(3600);

/// Everything that the worker's thread needs.
pub struct Job {
    pub settings: WorkerSettings,
    pub executor: HandlerExecutor,
    /// The runtime that handlers run on.
    pub handlers: Handle,
    pub status: Arc<SharedStatus>,
    pub stop: watch::Receiver<bool>,
    /// Told once the worker takes steps.
    pub started: oneshot::Sender<()>,
}

/// How a call ended.
enum Event {
    Registered(Result<Registered, CallError>),
    Leased { call: u64, epoch: u64, took: Duration, answer: Result<Vec<Leased>, CallError> },
    Reported { promise: Promise, reports: Vec<Report>, epoch: u64, answer: Result<ReportAnswer, CallError> },
    Recovered { epoch: u64, answer: Result<Vec<Leased>, CallError> },
    Heartbeat { call: u64, epoch: u64, answer: Result<Vec<LeaseKey>, CallError> },
    Released(Result<(), CallError>),
    Fetched { key: ResultKey, lease: LeaseKey, epoch: u64, answer: Result<Option<Fetched>, CallError> },
}

/// Runs a worker until it is stopped and everything is reported.
///
/// # Errors
/// It cannot start, or cannot go on.
pub async fn run(job: Job) -> Result<(), WorkerError> {
    let status = Arc::clone(&job.status);
    let result = work(job).await;
    status.update(|now| {
        now.status = WorkerState::Stopped;
        now.running = false;
        now.connected = false;
    });
    result
}

async fn work(job: Job) -> Result<(), WorkerError> {
    let Job { settings, executor, handlers, status, mut stop, started } = job;
    let server = Server::new(&settings.server).map_err(|error| WorkerError::Settings(error.to_string()))?;
    let files = settings.templates.as_deref().map(templates::read).transpose()?.unwrap_or_default();
    let mut driver = Driver::new(settings, server, executor, handlers, status);
    tokio::select! {
        done = driver.start(&files) => done?,
        () = stop_requested(&mut stop) => return Ok(()),
    }
    driver.publish(false);
    // Nobody listens if the worker runs by itself.
    let _ = started.send(());
    driver.serve(&mut stop).await
}

/// Returns once the worker is to stop; also if nobody is left who could say so.
async fn stop_requested(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|&stopping| stopping).await;
}

struct Driver {
    settings: WorkerSettings,
    server: Server,
    executor: HandlerExecutor,
    runtime: Handle,
    status: Arc<SharedStatus>,
    templates: templates::Registered,
    callables: BTreeSet<String>,
    machine: Machine,
    calls: JoinSet<Event>,
    lease_call: Option<AbortHandle>,
    heartbeat_call: Option<AbortHandle>,
    handlers: JoinSet<Report>,
    by_task: HashMap<Id, handlers::Running>,
    by_lease: HashMap<LeaseKey, AbortHandle>,
    results: results::Results,
}

impl Driver {
    fn new(
        settings: WorkerSettings,
        server: Server,
        executor: HandlerExecutor,
        runtime: Handle,
        status: Arc<SharedStatus>,
    ) -> Self {
        let rules = Rules {
            concurrency: settings.max_concurrent,
            handler_timeout: settings.handler_timeout,
            shutdown_timeout: settings.shutdown_timeout,
            name: settings.worker_id.clone(),
        };
        Self {
            settings,
            server,
            executor,
            runtime,
            status,
            templates: templates::Registered::default(),
            callables: BTreeSet::new(),
            machine: Machine::new(rules),
            calls: JoinSet::new(),
            lease_call: None,
            heartbeat_call: None,
            handlers: JoinSet::new(),
            by_task: HashMap::new(),
            by_lease: HashMap::new(),
            results: results::Results::new(),
        }
    }

    // -- the loop

    async fn serve(&mut self, stop: &mut watch::Receiver<bool>) -> Result<(), WorkerError> {
        let mut registry_look = tokio::time::interval(REGISTRY_LOOK);
        let mut stopping = false;
        loop {
            let now = Instant::now();
            for action in self.machine.act(now) {
                self.perform(action);
            }
            self.publish(stopping);
            if self.machine.is_done() {
                break;
            }
            let wake = self.machine.next_time(now).unwrap_or(now + LONG);
            tokio::select! {
                Some(ended) = self.calls.join_next() => self.call_ended(ended),
                Some(ended) = self.handlers.join_next_with_id() => self.handler_ended(ended),
                () = tokio::time::sleep_until(wake.into()) => {}
                _ = registry_look.tick() => {
                    self.results.kept.drop_unused(Instant::now());
                    self.look_at_registry().await;
                }
                () = stop_requested(stop), if !stopping => {
                    stopping = true;
                    self.machine.stop(Instant::now());
                }
            }
        }
        self.end().await
    }

    async fn look_at_registry(&mut self) {
        let (callables, _) = self.templates.callables(self.executor.registry().as_ref()).await;
        if callables != self.callables && !callables.is_empty() {
            self.serve_callables(callables);
        }
    }

    fn publish(&self, stopping: bool) {
        let machine = &self.machine;
        self.status.update(|now| {
            now.connected = machine.in_contact();
            now.active = machine.active();
            now.failed = machine.counts.failed;
            now.processed = machine.counts.failed + machine.counts.succeeded;
            now.status = if stopping {
                WorkerState::Stopping
            } else if machine.in_contact() {
                WorkerState::Running
            } else if now.handlers.is_empty() {
                WorkerState::NoHandlers
            } else {
                WorkerState::Disconnected
            };
        });
    }

    /// Says goodbye, or why the worker cannot go on.
    async fn end(&mut self) -> Result<(), WorkerError> {
        self.calls.abort_all();
        self.handlers.abort_all();
        if let Some(error) = self.machine.fatal() {
            return Err(self.fatal(error));
        }
        if let Some(known) = self.machine.registered() {
            if let Err(error) = self.server.deregister(&known.worker_id).await {
                warn!(target: TARGET, reason = %error, "deregistration_failed");
            }
        }
        let counts = self.machine.counts;
        info!(target: TARGET, worker = self.settings.worker_id, steps = counts.succeeded + counts.failed, "worker_stopped");
        Ok(())
    }

    fn fatal(&self, error: &CallError) -> WorkerError {
        let url = self.server.url();
        match error {
            CallError::Refused(reason) => WorkerError::Refused(format!("{url} refuses this worker: {reason}")),
            CallError::Wrong(reason) => WorkerError::Protocol(format!("{url} does not take a request: {reason}")),
            CallError::Unavailable { reason, .. } => WorkerError::ServerUnavailable(reason.clone()),
            CallError::WorkerUnknown => WorkerError::Protocol(format!("{url} does not know the worker")),
        }
    }

    // -- actions

    fn perform(&mut self, action: Action) {
        match action {
            Action::Start(lease) => self.start_handler(lease),
            Action::Cancel(key) => {
                if let Some(handler) = self.by_lease.get(&key) {
                    handler.abort();
                }
            }
            Action::AbortLease => abort(&mut self.lease_call),
            Action::AbortHeartbeat => abort(&mut self.heartbeat_call),
            Action::Register => {
                let (server, registration) = (self.server.clone(), self.registration());
                self.calls.spawn(async move { Event::Registered(server.register(&registration).await) });
            }
            call => self.call(call),
        }
    }

    /// Makes a call in the worker's name.
    fn call(&mut self, action: Action) {
        let Some(known) = self.machine.registered().cloned() else {
            return; // forgotten by the server right after this was decided
        };
        let (server, epoch) = (self.server.clone(), self.machine.epoch());
        match action {
            Action::Lease { call, limit } => {
                self.lease_call = Some(self.calls.spawn(async move {
                    let asked = Instant::now();
                    let answer = server.lease(&known.worker_id, limit, known.claim_wait()).await;
                    Event::Leased { call, epoch, took: asked.elapsed(), answer }
                }));
            }
            Action::Report { reports, promise } => {
                self.calls.spawn(async move {
                    let answer = server.report(&known.worker_id, &reports, promise.want).await;
                    Event::Reported { promise, reports, epoch, answer }
                });
            }
            Action::Recover => {
                self.calls
                    .spawn(async move { Event::Recovered { epoch, answer: server.recover(&known.worker_id).await } });
            }
            Action::Heartbeat { call, leases } => {
                self.heartbeat_call = Some(self.calls.spawn(async move {
                    let answer = server.heartbeat(&known.worker_id, &leases, known.heartbeat_wait()).await;
                    Event::Heartbeat { call, epoch, answer }
                }));
            }
            Action::Release { leases } => {
                self.calls.spawn(async move { Event::Released(server.release(&known.worker_id, &leases).await) });
            }
            _ => {}
        }
    }

    // -- events

    fn call_ended(&mut self, ended: Result<Event, JoinError>) {
        let Ok(event) = ended else {
            return; // it was aborted
        };
        let (now, chance) = (Instant::now(), chance());
        if let Event::Registered(Ok(registered)) = &event {
            self.log_registered(registered);
        }
        let machine = &mut self.machine;
        match event {
            Event::Registered(Ok(registered)) => machine.on_registered(registered),
            Event::Registered(Err(error)) => machine.on_register_failed(error, now, chance),
            Event::Leased { call, took, answer: Ok(leases), .. } => machine.on_leased(call, leases, took, now),
            Event::Leased { call, epoch, answer: Err(error), .. } => {
                machine.on_lease_failed(call, epoch, error, now, chance);
            }
            Event::Reported { promise, reports, answer: Ok(answer), .. } => {
                machine.on_reported(promise, reports, answer, now);
            }
            Event::Reported { promise, reports, epoch, answer: Err(error) } => {
                machine.on_report_failed(promise, reports, epoch, error, now, chance);
            }
            Event::Recovered { epoch, answer: Ok(leases) } => machine.on_recovered(epoch, leases, now),
            Event::Recovered { epoch, answer: Err(error) } => machine.on_recover_failed(epoch, error, now, chance),
            Event::Heartbeat { call, answer: Ok(lost), .. } => machine.on_heartbeat(call, &lost),
            Event::Heartbeat { call, epoch, answer: Err(error) } => {
                machine.on_heartbeat_failed(call, epoch, error, now, chance);
            }
            Event::Released(answer) => machine.on_released(answer.err()),
            Event::Fetched { key, answer: Ok(fetched), .. } => self.result_fetched(key, fetched),
            Event::Fetched { key, lease, epoch, answer: Err(error) } => self.fetch_failed(key, lease, epoch, error),
        }
    }
}

fn abort(call: &mut Option<AbortHandle>) {
    if let Some(call) = call.take() {
        call.abort();
    }
}

/// A random number from 0 to 1; good enough to spread pauses.
fn chance() -> f64 {
    RandomState::new().build_hasher().finish() as f64 / u64::MAX as f64
}
