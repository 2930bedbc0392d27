//! What resolvers and the handlers that they find must offer.

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use thiserror::Error;
use uuid::Uuid;

use crate::models::core::task_template::HandlerDefinition;
use crate::registry::MethodDispatchError;

/// A handler that a resolver found.
pub trait ResolvedHandler: Send + Sync + Debug + 'static {
    /// The handler's name.
    fn name(&self) -> &str;

    /// Whether the handler has a method; by default only `call`.
    fn supports_method(&self, method: &str) -> bool {
        method == "call"
    }

    /// The methods that the handler has.
    fn supported_methods(&self) -> Vec<&str> {
        vec!["call"]
    }

    /// The handler itself, to be downcast by whoever made the resolver.
    fn as_any(&self) -> &dyn Any;
}

/// Finds handlers for some of the definitions that templates have.
#[async_trait]
pub trait StepHandlerResolver: Send + Sync + Debug {
    /// Whether the resolver would try.
    fn can_resolve(&self, definition: &HandlerDefinition) -> bool;

    /// The handler for a definition, if there is one.
    async fn resolve(
        &self,
        definition: &HandlerDefinition,
        context: &ResolutionContext,
    ) -> Option<Arc<dyn ResolvedHandler>>;

    /// The name by which templates ask for this resolver alone.
    fn resolver_name(&self) -> &str;

    /// Lower is asked first; 100 by default.
    fn priority(&self) -> u32 {
        100
    }

    /// The callables that the resolver knows in advance.
    fn registered_callables(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Whom a handler is resolved for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResolutionContext {
    /// The template's namespace.
    pub namespace: String,
    /// The step's name.
    pub step_name: String,
    /// The task.
    pub task_uuid: Uuid,
}

impl ResolutionContext {
    /// For a step of a task.
    pub fn new(namespace: impl Into<String>, step_name: impl Into<String>, task_uuid: Uuid) -> Self {
        Self { namespace: namespace.into(), step_name: step_name.into(), task_uuid }
    }
}

/// Why a definition has no handler.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ResolutionError {
    /// No resolver knows the callable.
    #[error("Handler not found: {callable} (asked: {})", .tried.join(", "))]
    HandlerNotFound {
        /// The callable.
        callable: String,
        /// The resolvers that were asked.
        tried: Vec<String>,
    },
    /// The template asks for a resolver that the chain does not have.
    #[error("unknown resolver '{resolver}'; the chain has {}", .available.join(", "))]
    ResolverNotFound {
        /// The resolver's name.
        resolver: String,
        /// The chain's resolvers.
        available: Vec<String>,
    },
    /// The handler lacks the method that the template asks for.
    #[error(transparent)]
    MethodNotSupported(#[from] MethodDispatchError),
}
