//! Handlers, and the publishers of their events.

pub mod handlers;
pub mod step_event_publisher;
