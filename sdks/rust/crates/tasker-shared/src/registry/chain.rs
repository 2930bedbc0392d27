//! Asking several resolvers in order.

use std::sync::Arc;

use crate::models::core::task_template::HandlerDefinition;
use crate::registry::{wrap_with_method, ResolutionContext, ResolutionError, ResolvedHandler, StepHandlerResolver};

/// Resolvers in the order of their priority, lowest first; among equals the earlier added comes first.
#[derive(Debug, Clone, Default)]
pub struct ResolverChain {
    resolvers: Vec<Arc<dyn StepHandlerResolver>>,
}

/// How many resolvers a chain has, and how many callables they know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResolverChainStats {
    /// The number of resolvers.
    pub resolver_count: usize,
    /// The number of callables that they know in advance.
    pub callable_count: usize,
    /// Name, priority and number of callables of each, in order.
    pub resolvers: Vec<(String, u32, usize)>,
}

impl ResolverChain {
    /// A chain without resolvers.
    pub fn new() -> Self {
        Self::default()
    }

    /// The chain with one more resolver.
    pub fn with_resolver(mut self, resolver: Arc<dyn StepHandlerResolver>) -> Self {
        self.add_resolver(resolver);
        self
    }

    /// Puts a resolver in its place.
    pub fn add_resolver(&mut self, resolver: Arc<dyn StepHandlerResolver>) {
        self.resolvers.push(resolver);
        self.resolvers.sort_by_key(|each| each.priority());
    }

    /// The same as [`add_resolver`](Self::add_resolver).
    pub fn register(&mut self, resolver: Arc<dyn StepHandlerResolver>) {
        self.add_resolver(resolver);
    }

    /// The number of resolvers.
    pub fn len(&self) -> usize {
        self.resolvers.len()
    }

    /// Whether there is no resolver.
    pub fn is_empty(&self) -> bool {
        self.resolvers.is_empty()
    }

    /// The resolvers' names, in order.
    pub fn resolver_names(&self) -> Vec<&str> {
        self.resolvers.iter().map(|each| each.resolver_name()).collect()
    }

    /// Whether a resolver answers to a name, or to what other languages call it: `explicit_mapping`,
    /// `class_constant`.
    pub fn has_resolver(&self, name: &str) -> bool {
        self.named(name).is_some()
    }

    /// Whether any resolver would try; only the one that the definition names, if it names one.
    pub fn can_resolve(&self, definition: &HandlerDefinition) -> bool {
        self.candidates(definition).is_ok_and(|resolvers| resolvers.iter().any(|each| each.can_resolve(definition)))
    }

    /// The callables that the resolvers know in advance, each once.
    pub fn registered_callables(&self) -> Vec<String> {
        let mut callables: Vec<String> = Vec::new();
        for callable in self.resolvers.iter().flat_map(|each| each.registered_callables()) {
            if !callables.contains(&callable) {
                callables.push(callable);
            }
        }
        callables
    }

    /// How many resolvers there are, and what they know.
    pub fn stats(&self) -> ResolverChainStats {
        let describe = |each: &Arc<dyn StepHandlerResolver>| {
            (each.resolver_name().to_owned(), each.priority(), each.registered_callables().len())
        };
        ResolverChainStats {
            resolver_count: self.resolvers.len(),
            callable_count: self.registered_callables().len(),
            resolvers: self.resolvers.iter().map(describe).collect(),
        }
    }

    /// The handler for a definition, with the method that it asks for.
    ///
    /// # Errors
    ///
    /// No resolver has a handler, the definition names a resolver that is not here, or the handler lacks the method.
    pub async fn resolve(
        &self,
        definition: &HandlerDefinition,
        context: &ResolutionContext,
    ) -> Result<Arc<dyn ResolvedHandler>, ResolutionError> {
        let resolvers = self.candidates(definition)?;
        for resolver in resolvers.iter().filter(|each| each.can_resolve(definition)) {
            if let Some(handler) = resolver.resolve(definition, context).await {
                return Ok(wrap_with_method(handler, definition)?);
            }
        }
        Err(ResolutionError::HandlerNotFound {
            callable: definition.callable.clone(),
            tried: resolvers.iter().map(|each| each.resolver_name().to_owned()).collect(),
        })
    }

    /// The resolvers to ask for a definition.
    fn candidates(&self, definition: &HandlerDefinition) -> Result<&[Arc<dyn StepHandlerResolver>], ResolutionError> {
        let Some(hint) = definition.resolver.as_deref().filter(|hint| !hint.is_empty()) else {
            return Ok(&self.resolvers);
        };
        self.named(hint).map(std::slice::from_ref).ok_or_else(|| ResolutionError::ResolverNotFound {
            resolver: hint.to_owned(),
            available: self.resolver_names().into_iter().map(str::to_owned).collect(),
        })
    }

    fn named(&self, name: &str) -> Option<&Arc<dyn StepHandlerResolver>> {
        let name = match name {
            "explicit_mapping" => "ExplicitMappingResolver",
            "class_constant" | "class_lookup" => "ClassConstantResolver",
            name => name,
        };
        self.resolvers.iter().find(|each| each.resolver_name() == name)
    }
}
