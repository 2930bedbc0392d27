//! Finding the handler that a template asks for.

mod chain;
mod method_dispatch;
mod resolver;
pub mod resolvers;

pub use chain::{ResolverChain, ResolverChainStats};
pub use method_dispatch::{
    validate_method_support, wrap_with_method, MethodDispatchError, MethodDispatchInfo, MethodDispatchWrapper,
};
pub use resolver::{ResolutionContext, ResolutionError, ResolvedHandler, StepHandlerResolver};
