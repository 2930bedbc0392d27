//! Building a worker.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tasker_client::Auth;

use crate::error::WorkerError;
use crate::logging::LogFormat;
use crate::runner::Worker;
use crate::settings::WorkerSettings;
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
        Ok(Worker::new(settings, executor, !self.ignores_signals))
    }

    fn with(mut self, change: impl FnOnce(&mut WorkerSettings) + Send + 'static) -> Self {
        self.changes.push(Box::new(change));
        self
    }
}
