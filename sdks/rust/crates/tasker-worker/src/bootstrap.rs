//! Starting a worker inside an application.

use std::sync::Arc;
use std::time::Duration;

use tasker_shared::TaskerResult;

use crate::error::WorkerError;
use crate::runner::{Worker, WorkerSystemHandle};
use crate::worker::handlers::{PostHandlerCallback, StepHandlerRegistry};

/// What an application says of its worker; `None` leaves a setting to the environment.
#[derive(Clone, Debug, Default)]
pub struct WorkerBootstrapConfig {
    /// The worker's name in the history.
    pub worker_id: Option<String>,
    /// The server's URL.
    pub engine_url: Option<String>,
    /// Namespaces to take steps from, besides those of the templates.
    pub namespaces: Vec<String>,
    /// Handlers at once.
    pub max_concurrent: Option<usize>,
    /// How long running handlers have once the worker stops.
    pub shutdown_timeout: Option<Duration>,
    /// Whether to answer health checks, at `TASKER_WORKER_HEALTH_BIND` or `127.0.0.1:8081`; if that is not set and
    /// this is false, there are none.
    pub enable_web_api: bool,
}

/// Starts workers inside applications, which keep their signals to themselves.
pub struct WorkerBootstrap;

impl WorkerBootstrap {
    /// Starts a worker with the settings of the environment, and returns once it takes steps.
    ///
    /// # Errors
    /// It cannot start.
    pub async fn bootstrap(registry: Arc<dyn StepHandlerRegistry>) -> TaskerResult<WorkerSystemHandle> {
        Self::bootstrap_with(WorkerBootstrapConfig::default(), registry, None).await
    }

    /// The same, with other settings, and somebody who is told of each handler's result.
    ///
    /// # Errors
    /// It cannot start.
    pub async fn bootstrap_with(
        config: WorkerBootstrapConfig,
        registry: Arc<dyn StepHandlerRegistry>,
        callback: Option<Arc<dyn PostHandlerCallback>>,
    ) -> TaskerResult<WorkerSystemHandle> {
        Ok(worker(config, registry, callback)?.start().await?)
    }
}

fn worker(
    config: WorkerBootstrapConfig,
    registry: Arc<dyn StepHandlerRegistry>,
    callback: Option<Arc<dyn PostHandlerCallback>>,
) -> Result<Worker, WorkerError> {
    let mut builder = Worker::builder().registry(registry).without_signals();
    if let Some(name) = config.worker_id {
        builder = builder.worker_id(name);
    }
    if let Some(url) = config.engine_url {
        builder = builder.engine_url(url);
    }
    for namespace in config.namespaces {
        builder = builder.namespace(namespace);
    }
    if let Some(handlers) = config.max_concurrent {
        builder = builder.max_concurrent(handlers);
    }
    if let Some(limit) = config.shutdown_timeout {
        builder = builder.shutdown_timeout(limit);
    }
    if config.enable_web_api && std::env::var_os("TASKER_WORKER_HEALTH_BIND").is_none_or(|value| value.is_empty()) {
        builder = builder.health_bind("127.0.0.1:8081");
    }
    if let Some(callback) = callback {
        builder = builder.callback(callback);
    }
    builder.build()
}
