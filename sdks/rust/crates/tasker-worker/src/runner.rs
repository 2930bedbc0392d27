//! Building, starting and stopping a worker.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tasker_client::Auth;
use tokio::net::TcpListener;
use tokio::runtime::{self, Handle};
use tokio::sync::{oneshot, watch};
use tracing::info;

use crate::engine::driver::{self, Job};
use crate::error::WorkerError;
use crate::health;
use crate::logging::{init_logging, LogFormat, TARGET};
use crate::settings::WorkerSettings;
use crate::status::{SharedStatus, WorkerSystemStatus};
use crate::worker::handlers::{
    HandlerExecutor, NoOpCallback, PostHandlerCallback, ResolverChainRegistry, StepHandler, StepHandlerRegistry,
};

type Change = Box<dyn FnOnce(&mut WorkerSettings) + Send>;

/// Builds a [`Worker`]. What is not said here comes from the environment; see [`WorkerSettings::from_env`].
#[derive(Default)]
pub struct WorkerBuilder {
    changes: Vec<Change>,
    registry: Option<Arc<dyn StepHandlerRegistry>>,
    handlers: Vec<(String, Arc<dyn StepHandler>)>,
    callback: Option<Arc<dyn PostHandlerCallback>>,
    ignores_signals: bool,
}

impl WorkerBuilder {
    /// Sets the server's URL, such as `http://localhost:8080`.
    pub fn engine_url(self, url: impl Into<String>) -> Self {
        let url = url.into();
        self.with(move |settings| settings.server.base_url = url)
    }

    /// Sets the credential.
    pub fn auth(self, auth: Auth) -> Self {
        self.with(move |settings| settings.server.auth = Some(auth))
    }

    /// Sets all settings at once.
    pub fn settings(self, all: WorkerSettings) -> Self {
        self.with(move |settings| *settings = all)
    }

    /// Adds a namespace to take steps from, besides those of the templates. With neither, steps come from everywhere
    /// that the credential lets the worker in.
    pub fn namespace(self, namespace: impl Into<String>) -> Self {
        let namespace = namespace.into();
        self.with(move |settings| settings.namespaces.push(namespace))
    }

    /// Sets the worker's name in the history.
    pub fn worker_id(self, name: impl Into<String>) -> Self {
        let name = name.into();
        self.with(move |settings| settings.worker_id = name)
    }

    /// Sets how many handlers run at once, 1 to 10,000.
    pub fn max_concurrent(self, handlers: usize) -> Self {
        self.with(move |settings| settings.max_concurrent = handlers)
    }

    /// Sets how long a handler may run if its step has no `timeout_seconds`.
    pub fn handler_timeout(self, limit: Duration) -> Self {
        self.with(move |settings| settings.handler_timeout = limit)
    }

    /// Sets how long running handlers have once the worker stops.
    pub fn shutdown_timeout(self, limit: Duration) -> Self {
        self.with(move |settings| settings.shutdown_timeout = limit)
    }

    /// Sets how long to wait at the start for a server that is not there yet.
    pub fn wait_for(self, limit: Duration) -> Self {
        self.with(move |settings| settings.wait_for = limit)
    }

    /// Sets the template file, or the directory of them, to register at the start.
    pub fn templates(self, path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        self.with(move |settings| settings.templates = Some(path))
    }

    /// Sets the `HOST:PORT` of the health checks.
    pub fn health_bind(self, address: impl Into<String>) -> Self {
        let address = address.into();
        self.with(move |settings| settings.health_bind = Some(address))
    }

    /// Sets how log lines look.
    pub fn log_format(self, format: LogFormat) -> Self {
        self.with(move |settings| settings.log_format = format)
    }

    /// Sets where handlers are found; a [`ResolverChainRegistry`] by default.
    pub fn registry(mut self, registry: Arc<dyn StepHandlerRegistry>) -> Self {
        self.registry = Some(registry);
        self
    }

    /// Registers a handler by its name.
    pub fn handler(self, handler: Arc<dyn StepHandler>) -> Self {
        let name = handler.name().to_owned();
        self.handler_as(name, handler)
    }

    /// Registers a handler by another name than its own.
    pub fn handler_as(mut self, name: impl Into<String>, handler: Arc<dyn StepHandler>) -> Self {
        self.handlers.push((name.into(), handler));
        self
    }

    /// Sets who is told of each handler's result.
    pub fn callback(mut self, callback: Arc<dyn PostHandlerCallback>) -> Self {
        self.callback = Some(callback);
        self
    }

    /// Leaves SIGTERM and SIGINT to the application, which then stops the worker itself.
    pub fn without_signals(mut self) -> Self {
        self.ignores_signals = true;
        self
    }

    /// Builds the worker; nothing is sent yet.
    ///
    /// # Errors
    /// [`WorkerError::Settings`] if a setting cannot be used.
    pub fn build(self) -> Result<Worker, WorkerError> {
        let mut settings = WorkerSettings::from_env()?;
        for change in self.changes {
            change(&mut settings);
        }
        settings.check()?;
        let registry = self.registry.unwrap_or_else(|| Arc::new(ResolverChainRegistry::new()));
        for (name, handler) in self.handlers {
            registry.register(&name, handler);
        }
        let callback = self.callback.unwrap_or_else(|| Arc::new(NoOpCallback));
        let executor = HandlerExecutor::new(registry, &settings.worker_id).with_callback(callback);
        Ok(Worker { settings, executor, handles_signals: !self.ignores_signals })
    }

    fn with(mut self, change: impl FnOnce(&mut WorkerSettings) + Send + 'static) -> Self {
        self.changes.push(Box::new(change));
        self
    }
}

/// Takes steps from a server and runs their handlers.
///
/// Handlers run on the `tokio` runtime that [`run`](Self::run) or [`start`](Self::start) is called on; everything
/// else has a thread of its own, so that handlers which block do not cost leases.
pub struct Worker {
    settings: WorkerSettings,
    executor: HandlerExecutor,
    handles_signals: bool,
}

impl Worker {
    /// Begins to build a worker.
    pub fn builder() -> WorkerBuilder {
        WorkerBuilder::default()
    }

    /// How it runs.
    pub fn settings(&self) -> &WorkerSettings {
        &self.settings
    }

    /// Works until SIGTERM, SIGINT or an error that ends it. After a signal it takes no more steps, gives running
    /// handlers time to end, reports them and says goodbye. A second signal ends the process at once.
    ///
    /// # Errors
    /// It cannot start, or cannot go on.
    pub async fn run(self) -> Result<(), WorkerError> {
        self.launch().await?.finished().await
    }

    /// [`run`](Self::run) for a `main` that does nothing else: says on stderr what went wrong, and returns the exit
    /// code, see [`WorkerError::exit_code`]. Handlers that block to the end do not keep the process.
    pub async fn run_as_process(self) -> ExitCode {
        let ended = self.run_to_end().await;
        let code = ended.as_ref().map_or_else(|error| error.exit_code(), |_| 0);
        if let Err(error) = &ended {
            eprintln!("error: {error}");
        }
        if ended.is_ok_and(|left_behind| left_behind > 0) {
            std::process::exit(code.into());
        }
        ExitCode::from(code)
    }

    /// Starts it in the background, and returns once it takes steps, or waits for handlers.
    ///
    /// # Errors
    /// It cannot start.
    pub async fn start(self) -> Result<WorkerSystemHandle, WorkerError> {
        let mut handle = self.launch().await?;
        let Some(started) = handle.started.take() else {
            return Ok(handle);
        };
        if started.await.is_err() {
            handle.finished().await?;
            return Err(WorkerError::System("the worker was stopped before it had started".to_owned()));
        }
        Ok(handle)
    }

    async fn run_to_end(self) -> Result<usize, WorkerError> {
        let handle = self.launch().await?;
        let status = Arc::clone(&handle.status);
        handle.finished().await?;
        Ok(status.read().active)
    }

    async fn launch(self) -> Result<WorkerSystemHandle, WorkerError> {
        let settings = self.settings;
        init_logging(settings.log_format);
        let listener = match &settings.health_bind {
            Some(address) => Some(bind(address).await?),
            None => None,
        };
        let health_address = listener.as_ref().and_then(|listener| listener.local_addr().ok());
        let status = Arc::new(SharedStatus::new(&settings.worker_id, &settings.server.base_url));
        let (stop, stopped) = watch::channel(false);
        let (started_sender, started) = oneshot::channel();
        let (ended_sender, ended) = oneshot::channel();
        let namespaces = settings.namespaces.clone();
        let job = Job {
            settings,
            executor: self.executor,
            handlers: Handle::current(),
            status: Arc::clone(&status),
            stop: stopped,
            started: started_sender,
        };
        let signals = self.handles_signals.then(|| stop.clone());
        let health_status = Arc::clone(&status);
        let listener = listener
            .map(TcpListener::into_std)
            .transpose()
            .map_err(|error| WorkerError::System(format!("the health checks: {error}")))?;
        let body = async move {
            if let Some(stop) = signals {
                tokio::spawn(stop_on_signals(stop));
            }
            if let Some(Ok(listener)) = listener.map(TcpListener::from_std) {
                tokio::spawn(health::serve(listener, health_status));
            }
            driver::run(job).await
        };
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| WorkerError::System(format!("a runtime: {error}")))?;
        thread::Builder::new()
            .name("tasker-worker".to_owned())
            .spawn(move || ended_sender.send(runtime.block_on(body)))
            .map_err(|error| WorkerError::System(format!("a thread: {error}")))?;
        Ok(WorkerSystemHandle { status, stop, started: Some(started), ended: Some(ended), namespaces, health_address })
    }
}

async fn bind(address: &str) -> Result<TcpListener, WorkerError> {
    let host = address.strip_prefix("http://").unwrap_or(address);
    TcpListener::bind(host)
        .await
        .map_err(|error| WorkerError::System(format!("cannot answer health checks at {address}: {error}")))
}

/// A worker that runs in the background. Dropping the handle stops the worker, too, but nobody waits for it.
pub struct WorkerSystemHandle {
    status: Arc<SharedStatus>,
    stop: watch::Sender<bool>,
    started: Option<oneshot::Receiver<()>>,
    ended: Option<oneshot::Receiver<Result<(), WorkerError>>>,
    namespaces: Vec<String>,
    health_address: Option<SocketAddr>,
}

impl WorkerSystemHandle {
    /// Whether it runs, if only to end what it has begun.
    pub fn is_running(&self) -> bool {
        self.status.read().running
    }

    /// A look at it.
    pub async fn status(&self) -> WorkerSystemStatus {
        self.status.read()
    }

    /// The namespaces that it was told to serve; empty if those of its templates, or all.
    pub fn supported_namespaces(&self) -> Vec<String> {
        self.namespaces.clone()
    }

    /// Where it answers health checks, if it does.
    pub fn health_address(&self) -> Option<SocketAddr> {
        self.health_address
    }

    /// Lets it take no more steps, end what runs and say goodbye, and waits for that.
    ///
    /// # Errors
    /// What ended the worker before, if something did.
    pub async fn stop(&mut self) -> Result<(), WorkerError> {
        self.stop.send_replace(true);
        self.wait().await
    }

    /// Waits until it has ended by itself, or by a signal.
    ///
    /// # Errors
    /// What ended it.
    pub async fn finished(mut self) -> Result<(), WorkerError> {
        self.wait().await
    }

    async fn wait(&mut self) -> Result<(), WorkerError> {
        match self.ended.take() {
            None => Ok(()),
            Some(ended) => {
                ended.await.unwrap_or_else(|_| Err(WorkerError::System("the worker's thread has died".to_owned())))
            }
        }
    }
}

impl Drop for WorkerSystemHandle {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

/// Stops the worker at the first signal, and ends the process at the second.
#[cfg(unix)]
async fn stop_on_signals(stop: watch::Sender<bool>) {
    use tokio::signal::unix::{signal, SignalKind};

    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        return;
    };
    loop {
        let number = tokio::select! {
            _ = terminate.recv() => 15,
            _ = interrupt.recv() => 2,
        };
        if stop.send_replace(true) {
            std::process::exit(128 + number);
        }
        info!(target: TARGET, signal = number, "worker_stopping");
    }
}

/// Stops the worker at the first Ctrl-C, and ends the process at the second.
#[cfg(not(unix))]
async fn stop_on_signals(stop: watch::Sender<bool>) {
    while tokio::signal::ctrl_c().await.is_ok() {
        if stop.send_replace(true) {
            std::process::exit(130);
        }
        info!(target: TARGET, signal = 2, "worker_stopping");
    }
}
