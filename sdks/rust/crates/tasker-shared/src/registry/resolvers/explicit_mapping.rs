//! Handlers by the name that they were registered with.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use async_trait::async_trait;

use crate::models::core::task_template::HandlerDefinition;
use crate::registry::{ResolutionContext, ResolvedHandler, StepHandlerResolver};

/// Makes a handler for a definition.
pub type HandlerFactory = Arc<dyn Fn(&HandlerDefinition) -> Arc<dyn ResolvedHandler> + Send + Sync>;

/// A table of handlers by callable. It is asked before other resolvers.
#[derive(Default)]
pub struct ExplicitMappingResolver {
    factories: RwLock<HashMap<String, HandlerFactory>>,
}

impl ExplicitMappingResolver {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers a handler under a callable; it replaces an earlier one.
    pub fn register_instance(&self, key: impl Into<String>, handler: Arc<dyn ResolvedHandler>) {
        self.register(key, Arc::new(move |_| Arc::clone(&handler)));
    }

    /// Registers a function that makes a handler each time one is wanted.
    pub fn register(&self, key: impl Into<String>, factory: HandlerFactory) {
        self.write().insert(key.into(), factory);
    }

    /// Removes a callable; whether it was there.
    pub fn unregister(&self, key: &str) -> bool {
        self.write().remove(key).is_some()
    }

    /// Whether a callable is registered.
    pub fn is_registered(&self, key: &str) -> bool {
        self.read().contains_key(key)
    }

    /// The number of callables.
    pub fn len(&self) -> usize {
        self.read().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.read().is_empty()
    }

    /// The callables, sorted.
    pub fn registered_keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = self.read().keys().cloned().collect();
        keys.sort();
        keys
    }

    /// Removes everything.
    pub fn clear(&self) {
        self.write().clear();
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<String, HandlerFactory>> {
        self.factories.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<String, HandlerFactory>> {
        self.factories.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for ExplicitMappingResolver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ExplicitMappingResolver").field("keys", &self.registered_keys()).finish()
    }
}

#[async_trait]
impl StepHandlerResolver for ExplicitMappingResolver {
    fn can_resolve(&self, definition: &HandlerDefinition) -> bool {
        self.is_registered(&definition.callable)
    }

    async fn resolve(
        &self,
        definition: &HandlerDefinition,
        _context: &ResolutionContext,
    ) -> Option<Arc<dyn ResolvedHandler>> {
        let factory = self.read().get(&definition.callable).cloned()?;
        Some(factory(definition))
    }

    fn resolver_name(&self) -> &str {
        "ExplicitMappingResolver"
    }

    fn priority(&self) -> u32 {
        10
    }

    fn registered_callables(&self) -> Vec<String> {
        self.registered_keys()
    }
}
