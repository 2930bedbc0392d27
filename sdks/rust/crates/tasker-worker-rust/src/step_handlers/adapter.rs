//! A registry of handlers as the worker sees it.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use tasker_shared::messaging::StepExecutionResult;
use tasker_shared::models::core::task_template::HandlerDefinition;
use tasker_shared::registry::resolvers::{ClassConstantResolver, ExplicitMappingResolver};
use tasker_shared::registry::ResolverChain;
use tasker_shared::types::TaskSequenceStep;
use tasker_shared::{TaskerError, TaskerResult};
use tasker_worker::worker::handlers::{StepHandler, StepHandlerAsResolved, StepHandlerRegistry};

use crate::step_handlers::{GlobalRustStepHandlerRegistry, RustStepHandler, RustStepHandlerRegistry};

/// The resolver that templates may name for handlers in a registry.
const RESOLVER_NAMES: [&str; 2] = ["ExplicitMappingResolver", "explicit_mapping"];

/// Lets a worker find the handlers of a [`RustStepHandlerRegistry`]: by the step's callable, else by the name of the
/// template's step.
pub struct RustStepHandlerRegistryAdapter {
    registry: Arc<RustStepHandlerRegistry>,
    /// What was registered as the worker's own kind of handler.
    others: RwLock<HashMap<String, Arc<dyn StepHandler>>>,
}

impl RustStepHandlerRegistryAdapter {
    /// Of a registry, or of an `Arc` of one.
    pub fn new(registry: impl Into<Arc<RustStepHandlerRegistry>>) -> Self {
        Self { registry: registry.into(), others: RwLock::default() }
    }

    /// Of the registry of the whole process.
    pub fn with_default_handlers() -> Self {
        Self::new(Arc::clone(GlobalRustStepHandlerRegistry::shared()))
    }

    /// The handlers that are there now, as a resolver.
    pub fn to_explicit_resolver(&self) -> ExplicitMappingResolver {
        let resolver = ExplicitMappingResolver::new();
        for name in self.registered_handlers() {
            if let Some(handler) = self.find(&name) {
                resolver.register_instance(name, Arc::new(StepHandlerAsResolved::new(handler)));
            }
        }
        resolver
    }

    /// The handlers that are there now, as a chain that other resolvers can be added to.
    pub fn to_resolver_chain(&self) -> ResolverChain {
        ResolverChain::new()
            .with_resolver(Arc::new(self.to_explicit_resolver()))
            .with_resolver(Arc::new(ClassConstantResolver::new()))
    }

    fn find(&self, name: &str) -> Option<Arc<dyn StepHandler>> {
        if let Ok(handler) = self.registry.get_handler(name) {
            return Some(Arc::new(AsStepHandler(handler)));
        }
        self.others.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }
}

#[async_trait]
impl StepHandlerRegistry for RustStepHandlerRegistryAdapter {
    async fn get(&self, step: &TaskSequenceStep) -> Option<Arc<dyn StepHandler>> {
        let HandlerDefinition { callable, resolver, .. } = &step.step_definition.handler;
        match resolver.as_deref() {
            None | Some("") => self.find(callable).or_else(|| self.find(&step.workflow_step.template_step_name)),
            Some(hint) if RESOLVER_NAMES.contains(&hint) => self.find(callable),
            Some(_) => None,
        }
    }

    fn register(&self, name: &str, handler: Arc<dyn StepHandler>) {
        self.registry.unregister(name);
        self.others.write().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), handler);
    }

    fn handler_available(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    fn registered_handlers(&self) -> Vec<String> {
        let others = self.others.read().unwrap_or_else(PoisonError::into_inner);
        let mut names: Vec<String> = self.registry.list_handlers();
        names.extend(others.keys().cloned());
        names.sort();
        names.dedup();
        names
    }
}

/// A handler as the worker calls it.
pub(crate) struct AsStepHandler(pub(crate) Arc<dyn RustStepHandler>);

#[async_trait]
impl StepHandler for AsStepHandler {
    async fn call(&self, step: &TaskSequenceStep) -> TaskerResult<StepExecutionResult> {
        self.0.call(step).await.map_err(TaskerError::from)
    }

    fn name(&self) -> &str {
        self.0.name()
    }

    async fn invoke_method(&self, method: &str, step: &TaskSequenceStep) -> TaskerResult<StepExecutionResult> {
        self.0.invoke_method(method, step).await.map_err(TaskerError::from)
    }
}
