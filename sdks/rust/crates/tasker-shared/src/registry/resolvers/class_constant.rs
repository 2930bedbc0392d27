//! Callables that name a class of another language.

use std::sync::Arc;

use async_trait::async_trait;

use crate::models::core::task_template::HandlerDefinition;
use crate::registry::{ResolutionContext, ResolvedHandler, StepHandlerResolver};

/// Recognises callables that name a class (`Handlers::Charge`, `shop.handlers.Charge`), and never finds a handler:
/// Rust cannot look types up by name. It makes templates that name it readable to every worker.
#[derive(Debug, Clone, Copy, Default)]
pub struct ClassConstantResolver;

impl ClassConstantResolver {
    /// A resolver.
    pub fn new() -> Self {
        Self
    }
}

#[async_trait]
impl StepHandlerResolver for ClassConstantResolver {
    fn can_resolve(&self, definition: &HandlerDefinition) -> bool {
        let last = definition.callable.rsplit(['.', ':']).next().unwrap_or_default();
        last.starts_with(|first: char| first.is_ascii_uppercase())
    }

    async fn resolve(
        &self,
        _definition: &HandlerDefinition,
        _context: &ResolutionContext,
    ) -> Option<Arc<dyn ResolvedHandler>> {
        None
    }

    fn resolver_name(&self) -> &str {
        "ClassConstantResolver"
    }
}
