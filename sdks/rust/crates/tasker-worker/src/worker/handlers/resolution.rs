//! Registries that ask resolvers.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use tasker_shared::messaging::StepExecutionResult;
use tasker_shared::registry::resolvers::{ClassConstantResolver, ExplicitMappingResolver};
use tasker_shared::registry::{MethodDispatchWrapper, ResolutionContext, ResolvedHandler, ResolverChain};
use tasker_shared::types::TaskSequenceStep;
use tasker_shared::TaskerResult;

use crate::worker::handlers::{StepHandler, StepHandlerRegistry};

/// A [`StepHandler`] as resolvers return it.
#[derive(Clone)]
pub struct StepHandlerAsResolved(Arc<dyn StepHandler>);

impl StepHandlerAsResolved {
    /// Wraps a handler.
    pub fn new(handler: Arc<dyn StepHandler>) -> Self {
        Self(handler)
    }

    /// The handler within.
    pub fn handler(&self) -> &Arc<dyn StepHandler> {
        &self.0
    }
}

impl fmt::Debug for StepHandlerAsResolved {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "StepHandlerAsResolved({})", self.0.name())
    }
}

impl ResolvedHandler for StepHandlerAsResolved {
    fn name(&self) -> &str {
        self.0.name()
    }

    /// Any: the handler itself says whether it has the method when it is run.
    fn supports_method(&self, _method: &str) -> bool {
        true
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// A handler with the method that a template asks for.
#[derive(Clone)]
pub struct ExecutableHandler {
    handler: Arc<dyn StepHandler>,
    method: String,
}

impl ExecutableHandler {
    /// What a resolver found, ready to run; `None` if it is no [`StepHandlerAsResolved`].
    pub fn from_resolved(resolved: &dyn ResolvedHandler) -> Option<Self> {
        let any = resolved.as_any();
        if let Some(wrapper) = any.downcast_ref::<MethodDispatchWrapper>() {
            let inner = Self::from_resolved(wrapper.unwrap().as_ref())?;
            return Some(Self { method: wrapper.method().to_owned(), ..inner });
        }
        let handler = Arc::clone(any.downcast_ref::<StepHandlerAsResolved>()?.handler());
        Some(Self { handler, method: "call".to_owned() })
    }

    /// The handler.
    pub fn handler(&self) -> &Arc<dyn StepHandler> {
        &self.handler
    }

    /// The method that runs.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// Runs it.
    ///
    /// # Errors
    /// Those of the handler.
    pub async fn run(&self, step: &TaskSequenceStep) -> TaskerResult<StepExecutionResult> {
        self.handler.invoke_method(&self.method, step).await
    }
}

/// A registry that asks a chain of resolvers: first its own table of names, then those that were added.
#[derive(Debug)]
pub struct ResolverChainRegistry {
    chain: ResolverChain,
    explicit: Arc<ExplicitMappingResolver>,
}

impl Default for ResolverChainRegistry {
    fn default() -> Self {
        Self::new()
    }
}

impl ResolverChainRegistry {
    /// A registry without handlers.
    pub fn new() -> Self {
        Self::with_chain(ResolverChain::new().with_resolver(Arc::new(ClassConstantResolver::new())))
    }

    /// A registry that asks the resolvers of `chain`, too. They find handlers as [`StepHandlerAsResolved`].
    pub fn with_chain(chain: ResolverChain) -> Self {
        let explicit = Arc::new(ExplicitMappingResolver::new());
        let own: Arc<ExplicitMappingResolver> = Arc::clone(&explicit);
        Self { chain: chain.with_resolver(own), explicit }
    }

    /// The resolvers.
    pub fn chain(&self) -> &ResolverChain {
        &self.chain
    }

    /// The table of names.
    pub fn explicit(&self) -> &Arc<ExplicitMappingResolver> {
        &self.explicit
    }
}

#[async_trait]
impl StepHandlerRegistry for ResolverChainRegistry {
    async fn get(&self, step: &TaskSequenceStep) -> Option<Arc<dyn StepHandler>> {
        let mut definition = step.step_definition.handler.clone();
        if definition.callable.is_empty() {
            definition.callable.clone_from(&step.workflow_step.template_step_name);
        }
        let task = &step.task;
        let context = ResolutionContext::new(&task.namespace_name, &step.workflow_step.name, task.task.task_uuid);
        let resolved = self.chain.resolve(&definition, &context).await.ok()?;
        ExecutableHandler::from_resolved(resolved.as_ref()).map(|found| found.handler)
    }

    fn register(&self, name: &str, handler: Arc<dyn StepHandler>) {
        self.explicit.register_instance(name, Arc::new(StepHandlerAsResolved::new(handler)));
    }

    /// Whether a resolver says in advance that it knows the name.
    fn handler_available(&self, name: &str) -> bool {
        self.chain.registered_callables().iter().any(|known| known == name)
    }

    fn registered_handlers(&self) -> Vec<String> {
        self.chain.registered_callables()
    }
}

/// A registry that asks resolvers first, and then another registry.
pub struct HybridStepHandlerRegistry {
    resolvers: ResolverChainRegistry,
    fallback: Arc<dyn StepHandlerRegistry>,
}

impl HybridStepHandlerRegistry {
    /// Joins the two.
    pub fn new(resolvers: ResolverChainRegistry, fallback: Arc<dyn StepHandlerRegistry>) -> Self {
        Self { resolvers, fallback }
    }
}

#[async_trait]
impl StepHandlerRegistry for HybridStepHandlerRegistry {
    async fn get(&self, step: &TaskSequenceStep) -> Option<Arc<dyn StepHandler>> {
        match self.resolvers.get(step).await {
            Some(handler) => Some(handler),
            None => self.fallback.get(step).await,
        }
    }

    /// Registers with the resolvers' table of names.
    fn register(&self, name: &str, handler: Arc<dyn StepHandler>) {
        self.resolvers.register(name, handler);
    }

    fn handler_available(&self, name: &str) -> bool {
        self.resolvers.handler_available(name) || self.fallback.handler_available(name)
    }

    fn registered_handlers(&self) -> Vec<String> {
        let mut names = self.resolvers.registered_handlers();
        names.extend(self.fallback.registered_handlers());
        names.sort();
        names.dedup();
        names
    }
}
