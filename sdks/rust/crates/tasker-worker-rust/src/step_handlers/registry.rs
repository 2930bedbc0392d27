//! Handlers by name.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard};

use tasker_shared::events::domain_events::DomainEventPublisher;
use tasker_shared::RustStepHandlerError;

use crate::step_handlers::{RustStepHandler, StepHandlerConfig};

type Handlers = HashMap<String, Arc<dyn RustStepHandler>>;

/// Handlers by the names that templates call them. Handlers can be added while a worker runs.
#[derive(Default)]
pub struct RustStepHandlerRegistry {
    handlers: RwLock<Handlers>,
    event_publisher: RwLock<Arc<DomainEventPublisher>>,
}

impl RustStepHandlerRegistry {
    /// A registry without handlers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a handler and registers it under its name. Its configuration has the registry's event publisher, and is
    /// empty otherwise.
    pub fn register<H: RustStepHandler + 'static>(&self) {
        let config = StepHandlerConfig::empty().with_event_publisher(self.event_publisher());
        self.register_handler(Arc::new(H::new(config)));
    }

    /// Registers a handler under its name; it replaces an earlier one.
    pub fn register_handler(&self, handler: Arc<dyn RustStepHandler>) {
        let name = handler.name().to_owned();
        self.register_handler_as(name, handler);
    }

    /// Registers a handler under any name; it replaces an earlier one.
    pub fn register_handler_as(&self, name: impl Into<String>, handler: Arc<dyn RustStepHandler>) {
        self.handlers.write().unwrap_or_else(PoisonError::into_inner).insert(name.into(), handler);
    }

    /// Removes the handler of a name; whether it was there.
    pub fn unregister(&self, name: &str) -> bool {
        self.handlers.write().unwrap_or_else(PoisonError::into_inner).remove(name).is_some()
    }

    /// The handler of a name.
    ///
    /// # Errors
    ///
    /// There is none.
    pub fn get_handler(&self, name: &str) -> Result<Arc<dyn RustStepHandler>, RustStepHandlerError> {
        self.read().get(name).cloned().ok_or_else(|| RustStepHandlerError::ExecutionError {
            message: format!("Handler not found: {name}"),
            retryable: false,
        })
    }

    /// Whether there is a handler of a name.
    pub fn has_handler(&self, name: &str) -> bool {
        self.read().contains_key(name)
    }

    /// The same as [`has_handler`](Self::has_handler).
    pub fn is_registered(&self, name: &str) -> bool {
        self.has_handler(name)
    }

    /// The names, sorted.
    pub fn list_handlers(&self) -> Vec<String> {
        let mut names: Vec<String> = self.read().keys().cloned().collect();
        names.sort();
        names
    }

    /// The same as [`list_handlers`](Self::list_handlers).
    pub fn get_all_handler_names(&self) -> Vec<String> {
        self.list_handlers()
    }

    /// The number of names.
    pub fn handler_count(&self) -> usize {
        self.read().len()
    }

    /// The publisher that handlers are made with; one of the registry's own by default.
    pub fn event_publisher(&self) -> Arc<DomainEventPublisher> {
        Arc::clone(&self.event_publisher.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sets the publisher that handlers are made with from now on.
    pub fn set_event_publisher(&self, publisher: Arc<DomainEventPublisher>) {
        *self.event_publisher.write().unwrap_or_else(PoisonError::into_inner) = publisher;
    }

    fn read(&self) -> RwLockReadGuard<'_, Handlers> {
        self.handlers.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for RustStepHandlerRegistry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RustStepHandlerRegistry").field("handlers", &self.list_handlers()).finish()
    }
}

/// The registry of the whole process.
#[derive(Debug, Clone, Copy)]
pub struct GlobalRustStepHandlerRegistry;

impl GlobalRustStepHandlerRegistry {
    /// The one registry.
    pub fn instance() -> &'static RustStepHandlerRegistry {
        Self::shared()
    }

    /// The same, to be shared with a worker.
    pub(crate) fn shared() -> &'static Arc<RustStepHandlerRegistry> {
        static INSTANCE: OnceLock<Arc<RustStepHandlerRegistry>> = OnceLock::new();
        INSTANCE.get_or_init(Arc::default)
    }
}
