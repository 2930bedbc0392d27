//! Events that follow from steps, within one process.

pub mod domain_events;
mod registry;

pub use registry::{EventHandler, EventHandlerError, EventRegistry};
