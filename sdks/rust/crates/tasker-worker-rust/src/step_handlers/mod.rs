//! What the author of a handler writes, and what the handler gives back.

mod adapter;
mod config;
mod domain_event_callback;
mod handler;
mod registry;

pub(crate) use adapter::AsStepHandler;
pub use adapter::RustStepHandlerRegistryAdapter;
pub use config::StepHandlerConfig;
pub use domain_event_callback::DomainEventCallback;
pub use handler::{error_result, success_result, RustStepHandler};
pub use registry::{GlobalRustStepHandlerRegistry, RustStepHandlerRegistry};

pub use tasker_shared::registry::MethodDispatchError;
pub use tasker_shared::RustStepHandlerError;
pub use tasker_worker::handler_capabilities::{
    APICapable, BatchableCapable, DecisionCapable, ErrorClassification, HandlerCapabilities,
};
pub use tasker_worker::worker::step_event_publisher::{
    DefaultStepEventPublisher, PublishResult, StepEventContext, StepEventPublisher, StepEventPublisherError,
    StepEventPublisherRegistry,
};
