//! Running another method of a handler than `call`.

use std::any::Any;
use std::sync::Arc;

use thiserror::Error;

use crate::models::core::task_template::HandlerDefinition;
use crate::registry::ResolvedHandler;

/// A handler lacks a method.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("handler '{handler}' has no method '{method}'; it has {}", .supported.join(", "))]
pub struct MethodDispatchError {
    /// The handler's name.
    pub handler: String,
    /// The method that was asked for.
    pub method: String,
    /// The methods that it has.
    pub supported: Vec<String>,
}

impl MethodDispatchError {
    /// `handler` has no method `method`, but those in `supported`.
    pub fn new(handler: &str, method: &str, supported: &[&str]) -> Self {
        Self {
            handler: handler.to_owned(),
            method: method.to_owned(),
            supported: supported.iter().map(|each| (*each).to_owned()).collect(),
        }
    }
}

/// Which method of which handler runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MethodDispatchInfo {
    /// The handler's callable.
    pub callable: String,
    /// The method.
    pub method: String,
    /// Whether it is another one than `call`.
    pub uses_dispatch: bool,
}

impl From<&HandlerDefinition> for MethodDispatchInfo {
    fn from(definition: &HandlerDefinition) -> Self {
        Self {
            callable: definition.callable.clone(),
            method: definition.effective_method().to_owned(),
            uses_dispatch: definition.uses_method_dispatch(),
        }
    }
}

/// A handler together with the method that runs instead of `call`.
#[derive(Debug, Clone)]
pub struct MethodDispatchWrapper {
    handler: Arc<dyn ResolvedHandler>,
    method: String,
}

impl MethodDispatchWrapper {
    /// Wraps a handler.
    ///
    /// # Errors
    ///
    /// The handler lacks the method.
    pub fn new(handler: Arc<dyn ResolvedHandler>, method: impl Into<String>) -> Result<Self, MethodDispatchError> {
        let method = method.into();
        validate_method_support(handler.as_ref(), &method)?;
        Ok(Self { handler, method })
    }

    /// The handler within.
    pub fn unwrap(&self) -> &Arc<dyn ResolvedHandler> {
        &self.handler
    }

    /// The method that runs.
    pub fn method(&self) -> &str {
        &self.method
    }
}

impl ResolvedHandler for MethodDispatchWrapper {
    fn name(&self) -> &str {
        self.handler.name()
    }

    fn supports_method(&self, method: &str) -> bool {
        self.handler.supports_method(method)
    }

    fn supported_methods(&self) -> Vec<&str> {
        self.handler.supported_methods()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Makes sure that a handler has a method.
///
/// # Errors
///
/// It has not.
pub fn validate_method_support(handler: &dyn ResolvedHandler, method: &str) -> Result<(), MethodDispatchError> {
    if handler.supports_method(method) {
        return Ok(());
    }
    Err(MethodDispatchError::new(handler.name(), method, &handler.supported_methods()))
}

/// The handler with the method that the definition asks for; the handler itself if that is `call`.
///
/// # Errors
///
/// The handler lacks the method.
pub fn wrap_with_method(
    handler: Arc<dyn ResolvedHandler>,
    definition: &HandlerDefinition,
) -> Result<Arc<dyn ResolvedHandler>, MethodDispatchError> {
    if !definition.uses_method_dispatch() {
        return Ok(handler);
    }
    Ok(Arc::new(MethodDispatchWrapper::new(handler, definition.effective_method())?))
}
