//! Starting and stopping a worker.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;

use tokio::net::TcpListener;
use tokio::runtime::{self, Handle};
use tokio::sync::{oneshot, watch};

use crate::builder::WorkerBuilder;
use crate::engine::driver::{self, Job};
use crate::error::WorkerError;
use crate::health;
use crate::logging::init_logging;
use crate::settings::WorkerSettings;
use crate::signals::stop_on_signals;
use crate::status::{SharedStatus, WorkerSystemStatus};
use crate::worker::handlers::HandlerExecutor;

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
    pub(crate) fn new(settings: WorkerSettings, executor: HandlerExecutor, handles_signals: bool) -> Self {
        Self { settings, executor, handles_signals }
    }

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
    TcpListener::bind(address).await.map_err(|error| {
        let reason = format!("cannot answer health checks at {address:?}, which must be HOST:PORT: {error}");
        match error.kind() {
            ErrorKind::InvalidInput => WorkerError::Settings(reason),
            _ => WorkerError::System(reason),
        }
    })
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
