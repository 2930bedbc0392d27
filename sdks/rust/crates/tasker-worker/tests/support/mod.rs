//! A server that speaks the worker protocol as the tests tell it to, and a worker that runs against it. Both have
//! threads of their own, so a test may wait for either without being in the way.
#![allow(dead_code)] // each test file uses a part of it

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{json, Value};
use tasker_shared::messaging::StepExecutionResult;
use tasker_shared::types::TaskSequenceStep;
use tasker_shared::TaskerResult;
use tasker_worker::worker::handlers::StepHandler;
use tasker_worker::{Worker, WorkerBuilder, WorkerError, WorkerSystemHandle};
use tokio::net::TcpListener;
use tokio::runtime;
use tokio::sync::{oneshot, Notify};
use uuid::Uuid;

/// How long anything may take that a test waits for.
const PATIENCE: Duration = Duration::from_secs(20);

/// A call that the server got.
#[derive(Clone, Debug)]
pub struct Call {
    pub verb: String,
    pub worker: String,
    pub body: Value,
    pub headers: HashMap<String, String>,
    pub at: Instant,
}

/// An answer that a test prepares instead of the usual one.
#[derive(Clone, Debug)]
pub struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Value,
}

impl Answer {
    pub fn ok(body: Value) -> Self {
        Self { status: 200, headers: Vec::new(), body }
    }

    pub fn error(status: u16, code: &str) -> Self {
        let body = json!({"error": {"code": code, "message": format!("told to answer {code}")}});
        Self { status, headers: Vec::new(), body }
    }

    pub fn with_header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub fn with_details(mut self, details: Value) -> Self {
        self.body["error"]["details"] = details;
        self
    }
}

#[derive(Default)]
struct State {
    calls: Vec<Call>,
    ready: VecDeque<Value>,
    held: Vec<Value>,
    lost: Vec<Value>,
    cancelled: Vec<Value>,
    answers: HashMap<String, VecDeque<Answer>>,
    results: HashMap<String, Value>,
    workers: usize,
    lease_seconds: f64,
}

struct Shared {
    state: Mutex<State>,
    called: Condvar,
    /// Wakes calls that wait.
    news: Notify,
}

/// The server.
#[derive(Clone)]
pub struct FakeServer {
    shared: Arc<Shared>,
    address: SocketAddr,
}

impl FakeServer {
    pub fn start() -> Self {
        let state = State { lease_seconds: 30.0, ..State::default() };
        let shared = Arc::new(Shared { state: Mutex::new(state), called: Condvar::new(), news: Notify::new() });
        let (sender, receiver) = std::sync::mpsc::channel();
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async move {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                sender.send(listener.local_addr().unwrap()).unwrap();
                serve(listener, serving).await;
            });
        });
        Self { shared, address: receiver.recv().unwrap() }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn with_lease_seconds(self, seconds: f64) -> Self {
        self.shared.state.lock().unwrap().lease_seconds = seconds;
        self
    }

    /// Has a step ready to be leased.
    pub fn offer(&self, lease: Value) {
        self.shared.state.lock().unwrap().ready.push_back(lease);
        self.shared.news.notify_waiters();
    }

    /// Has a lease granted that the worker never heard of.
    pub fn grant_unheard(&self, lease: Value) {
        self.shared.state.lock().unwrap().held.push(lease);
    }

    /// Takes a lease away.
    pub fn take_away(&self, lease: &Value, cancelled: bool) {
        let key = json!({"step_uuid": lease["step_uuid"], "lease_id": lease["lease_id"]});
        let mut state = self.shared.state.lock().unwrap();
        if cancelled {
            state.cancelled.push(key);
        } else {
            state.lost.push(key);
        }
        drop(state);
        self.shared.news.notify_waiters();
    }

    /// Has the result of a step; calls that ask for it wait until then. Null is none.
    pub fn give_result(&self, step: &str, result: Value) {
        self.shared.state.lock().unwrap().results.insert(step.to_owned(), result);
        self.shared.news.notify_waiters();
    }

    /// Answers the next call of a verb differently.
    pub fn answer(&self, verb: &str, answer: Answer) {
        self.shared.state.lock().unwrap().answers.entry(verb.to_owned()).or_default().push_back(answer);
    }

    /// The calls of a verb so far.
    pub fn calls(&self, verb: &str) -> Vec<Call> {
        self.shared.state.lock().unwrap().calls.iter().filter(|call| call.verb == verb).cloned().collect()
    }

    /// Waits until there are so many calls of a verb, and returns them.
    pub fn wait_for_calls(&self, verb: &str, count: usize) -> Vec<Call> {
        self.wait(&format!("{count} × {verb}"), || Some(self.calls(verb)).filter(|calls| calls.len() >= count))
    }

    /// Waits until so many results were reported, and returns them in order.
    pub fn wait_for_results(&self, count: usize) -> Vec<Value> {
        let results = || -> Vec<Value> {
            let reports = self.calls("report");
            reports.iter().flat_map(|call| call.body["results"].as_array().unwrap().clone()).collect()
        };
        self.wait(&format!("{count} results"), || Some(results()).filter(|results| results.len() >= count))
    }

    /// Waits until something is there.
    pub fn wait<T>(&self, what: &str, mut find: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = find() {
                return found;
            }
            assert!(Instant::now() < deadline, "waited in vain for {what}; calls: {:?}", self.verbs());
            let state = self.shared.state.lock().unwrap();
            drop(self.shared.called.wait_timeout(state, Duration::from_millis(50)).unwrap());
        }
    }

    fn verbs(&self) -> Vec<String> {
        self.shared.state.lock().unwrap().calls.iter().map(|call| call.verb.clone()).collect()
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let shared = Arc::clone(&shared);
                async move { Ok::<_, Infallible>(answer(request, &shared).await) }
            });
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(request: Request<Incoming>, shared: &Shared) -> Response<Full<Bytes>> {
    let parts: Vec<String> = request.uri().path().split('/').map(str::to_owned).collect();
    let verb = parts.last().cloned().unwrap_or_default();
    let worker = if parts.len() > 4 { parts[3].clone() } else { String::new() };
    let header = |(name, value): (&hyper::header::HeaderName, &hyper::header::HeaderValue)| {
        (name.to_string(), value.to_str().unwrap_or_default().to_owned())
    };
    let headers = request.headers().iter().map(header).collect();
    let bytes = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    let call = Call { verb: verb.clone(), worker, body: body.clone(), headers, at: Instant::now() };
    let prepared = {
        let mut state = shared.state.lock().unwrap();
        state.calls.push(call);
        state.answers.get_mut(&verb).and_then(VecDeque::pop_front)
    };
    shared.called.notify_all();
    let answer = match prepared {
        Some(answer) => answer,
        None => Answer::ok(usual(&verb, &body, shared).await),
    };
    let mut response = Response::builder().status(answer.status);
    for (name, value) in answer.headers {
        response = response.header(name, value);
    }
    response.body(Full::new(Bytes::from(answer.body.to_string()))).unwrap()
}

async fn usual(verb: &str, body: &Value, shared: &Shared) -> Value {
    let count = |key: &str| usize::try_from(body[key].as_u64().unwrap_or(0)).unwrap();
    let take = |most: usize| {
        let mut state = shared.state.lock().unwrap();
        let size = most.min(state.ready.len());
        state.ready.drain(..size).collect::<Vec<Value>>()
    };
    match verb {
        "register" => {
            let mut state = shared.state.lock().unwrap();
            state.workers += 1;
            let known = body["worker_id"].as_str().map(str::to_owned);
            json!({
                "worker_id": known.unwrap_or_else(|| format!("worker-{}", state.workers)),
                "lease_seconds": state.lease_seconds,
                "heartbeat_seconds": state.lease_seconds / 3.0,
                "max_wait_seconds": 30.0,
            })
        }
        "lease" => {
            json!({"leases": within(body, shared, || Some(take(count("limit"))).filter(|found| !found.is_empty())).await})
        }
        "report" => {
            let accepted: Vec<Value> = body["results"].as_array().unwrap().iter().map(key_of).collect();
            json!({"accepted": accepted, "refused": [], "leases": take(count("lease")), "more_ready": false})
        }
        "heartbeat" => {
            let news = within(body, shared, || {
                let mut state = shared.state.lock().unwrap();
                let (lost, cancelled) = (std::mem::take(&mut state.lost), std::mem::take(&mut state.cancelled));
                (!lost.is_empty() || !cancelled.is_empty()).then_some((lost, cancelled))
            });
            let (lost, cancelled) = news.await;
            json!({"renewed": 1, "lost": lost, "cancelled": cancelled})
        }
        "results" => {
            let name = body["names"][0].as_str().unwrap();
            let find = || shared.state.lock().unwrap().results.get(name).cloned();
            json!({"results": {name: within_seconds(PATIENCE.as_secs_f64(), shared, find).await}})
        }
        "recover" => json!({"leases": std::mem::take(&mut shared.state.lock().unwrap().held)}),
        "templates" => json!({"namespace": "shop", "name": "t", "version": "1.0.0", "outcome": "registered",
            "handlers": [{"callable": "work", "method": null, "resolver": null}, {"callable": "elsewhere", "method": null, "resolver": null}],
            "warnings": []}),
        _ => json!({"status": "ok"}),
    }
}

/// What is found within the time that a call waits; the default of the type if nothing is.
async fn within<T: Default>(body: &Value, shared: &Shared, find: impl FnMut() -> Option<T>) -> T {
    within_seconds(body["wait_seconds"].as_f64().unwrap_or(0.0), shared, find).await
}

async fn within_seconds<T: Default>(seconds: f64, shared: &Shared, mut find: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs_f64(seconds);
    loop {
        let news = shared.news.notified();
        if let Some(found) = find() {
            return found;
        }
        if tokio::time::timeout_at(deadline.into(), news).await.is_err() {
            return T::default();
        }
    }
}

pub fn key_of(lease: &Value) -> Value {
    json!({"step_uuid": lease["step_uuid"], "lease_id": lease["lease_id"]})
}

/// A lease of a step that calls the handler `callable`.
pub fn lease(callable: &str, lease_id: i64) -> Value {
    lease_with(callable, lease_id, json!({}), json!(null))
}

/// The same with a context and a time limit in seconds.
pub fn lease_with(callable: &str, lease_id: i64, context: Value, timeout_seconds: Value) -> Value {
    let step_uuid = Uuid::new_v4();
    json!({
        "step_uuid": step_uuid, "lease_id": lease_id, "attempt": 1, "lease_seconds": 30.0, "omitted_results": [],
        "task_sequence_step": {
            "task": {
                "task": {"task_uuid": Uuid::new_v4(), "context": context, "requested_at": "2030-01-31T08:00:00.000000Z"},
                "task_name": "t", "task_version": "1.0.0", "namespace_name": "shop"},
            "workflow_step": {"workflow_step_uuid": step_uuid, "name": callable, "template_step_name": callable, "attempts": 0},
            "dependency_results": {},
            "step_definition": {
                "name": callable, "handler": {"callable": callable, "method": null, "resolver": null, "initialization": {}},
                "timeout_seconds": timeout_seconds}},
    })
}

/// The same, without the results of these steps.
pub fn lease_without(callable: &str, lease_id: i64, task: Uuid, omitted: &[&str]) -> Value {
    let mut lease = lease(callable, lease_id);
    lease["omitted_results"] = json!(omitted);
    lease["task_sequence_step"]["task"]["task"]["task_uuid"] = json!(task);
    lease
}

type Returned = Pin<Box<dyn Future<Output = TaskerResult<StepExecutionResult>> + Send>>;

/// A handler that is a function.
pub struct FnHandler {
    name: String,
    body: Box<dyn Fn(TaskSequenceStep) -> Returned + Send + Sync>,
}

#[async_trait]
impl StepHandler for FnHandler {
    async fn call(&self, step: &TaskSequenceStep) -> TaskerResult<StepExecutionResult> {
        (self.body)(step.clone()).await
    }

    fn name(&self) -> &str {
        &self.name
    }
}

/// A handler with this name and body.
pub fn handler<F, R>(name: &str, body: F) -> Arc<dyn StepHandler>
where
    F: Fn(TaskSequenceStep) -> R + Send + Sync + 'static,
    R: Future<Output = TaskerResult<StepExecutionResult>> + Send + 'static,
{
    Arc::new(FnHandler { name: name.to_owned(), body: Box::new(move |step| Box::pin(body(step))) })
}

/// A handler that succeeds at once.
pub fn works(name: &str) -> Arc<dyn StepHandler> {
    handler(name, |step| async move { success(&step, json!({"done": true})) })
}

pub fn success(step: &TaskSequenceStep, result: Value) -> TaskerResult<StepExecutionResult> {
    Ok(StepExecutionResult::success(step.workflow_step.workflow_step_uuid, result, 0, None))
}

/// A worker on a runtime of its own.
pub struct TestWorker {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<(), WorkerError>>>,
    handle: Arc<Mutex<Option<WorkerSystemHandle>>>,
}

impl TestWorker {
    /// Starts a worker; `threads` is the number of threads that handlers run on.
    pub fn start(builder: WorkerBuilder, threads: usize) -> Self {
        let (stop, stopped) = oneshot::channel();
        let (tell, told) = std::sync::mpsc::channel();
        let handle = Arc::new(Mutex::new(None));
        let slot = Arc::clone(&handle);
        let thread = thread::spawn(move || {
            let runtime = runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build().unwrap();
            let ended = runtime.block_on(async move {
                let started = builder.without_signals().build()?.start().await?;
                *slot.lock().unwrap() = Some(started);
                tell.send(()).unwrap();
                let _ = stopped.await;
                let mut worker = slot.lock().unwrap().take().unwrap();
                worker.stop().await
            });
            runtime.shutdown_background();
            ended
        });
        // An error is found by `stop`.
        let _ = told.recv();
        Self { stop: Some(stop), thread: Some(thread), handle }
    }

    pub fn status(&self) -> tasker_worker::WorkerSystemStatus {
        let guard = self.handle.lock().unwrap();
        let handle = guard.as_ref().expect("the worker runs");
        runtime::Builder::new_current_thread().build().unwrap().block_on(handle.status())
    }

    /// Where it answers health checks.
    pub fn health_address(&self) -> SocketAddr {
        let guard = self.handle.lock().unwrap();
        guard.as_ref().and_then(WorkerSystemHandle::health_address).expect("it answers health checks")
    }

    /// Asks it to stop, without waiting.
    pub fn begin_to_stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }

    /// Stops it, and returns how it ended.
    pub fn stop(mut self) -> Result<(), WorkerError> {
        self.begin_to_stop();
        self.thread.take().unwrap().join().unwrap()
    }
}

/// A builder for a worker of this server.
pub fn worker_of(server: &FakeServer) -> WorkerBuilder {
    Worker::builder()
        .engine_url(server.url())
        .worker_id("tester")
        .wait_for(Duration::from_secs(5))
        .shutdown_timeout(Duration::from_secs(10))
}
