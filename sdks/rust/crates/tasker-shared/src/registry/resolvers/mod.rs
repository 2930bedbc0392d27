//! The resolvers that come with Tasker.

mod class_constant;
mod explicit_mapping;

pub use class_constant::ClassConstantResolver;
pub use explicit_mapping::{ExplicitMappingResolver, HandlerFactory};
