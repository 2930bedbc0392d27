//! Handlers are found by the resolver that the template asks for, or by the first that has one.

use std::any::Any;
use std::sync::Arc;

use tasker_shared::models::core::task_template::HandlerDefinition;
use tasker_shared::registry::resolvers::{ClassConstantResolver, ExplicitMappingResolver};
use tasker_shared::registry::{MethodDispatchInfo, ResolutionContext, ResolutionError, ResolvedHandler, ResolverChain};

#[derive(Debug)]
struct Charge;

impl ResolvedHandler for Charge {
    fn name(&self) -> &str {
        "charge"
    }

    fn supports_method(&self, method: &str) -> bool {
        self.supported_methods().contains(&method)
    }

    fn supported_methods(&self) -> Vec<&str> {
        vec!["call", "refund"]
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

fn chain() -> ResolverChain {
    let explicit = ExplicitMappingResolver::new();
    explicit.register_instance("charge", Arc::new(Charge));
    ResolverChain::new().with_resolver(Arc::new(ClassConstantResolver::new())).with_resolver(Arc::new(explicit))
}

async fn resolve(definition: HandlerDefinition) -> Result<Arc<dyn ResolvedHandler>, ResolutionError> {
    chain().resolve(&definition, &ResolutionContext::default()).await
}

#[test]
fn resolvers_stand_in_the_order_of_their_priority() {
    let chain = chain();
    assert_eq!(chain.resolver_names(), ["ExplicitMappingResolver", "ClassConstantResolver"]);
    assert_eq!(chain.registered_callables(), ["charge"]);
    assert_eq!(chain.stats().resolver_count, 2);
}

#[tokio::test]
async fn a_registered_handler_is_found_by_its_callable() {
    let found = resolve(HandlerDefinition::builder().callable("charge").build()).await.unwrap();
    assert_eq!(found.name(), "charge");
    assert!(found.as_any().is::<Charge>());
}

#[tokio::test]
async fn a_resolver_answers_to_both_of_its_names() {
    for hint in ["explicit_mapping", "ExplicitMappingResolver"] {
        let definition = HandlerDefinition::builder().callable("charge").resolver(hint).build();
        assert!(resolve(definition).await.is_ok(), "{hint}");
    }
}

#[tokio::test]
async fn only_the_resolver_that_is_named_is_asked() {
    let other = HandlerDefinition::builder().callable("charge").resolver("class_constant").build();
    assert!(matches!(resolve(other).await, Err(ResolutionError::HandlerNotFound { .. })));
    let unknown = HandlerDefinition::builder().callable("charge").resolver("ghost").build();
    assert!(matches!(resolve(unknown).await, Err(ResolutionError::ResolverNotFound { .. })));
}

#[tokio::test]
async fn a_class_of_another_language_is_recognised_and_has_no_handler() {
    let definition = HandlerDefinition::builder().callable("Handlers::Charge").build();
    assert!(chain().can_resolve(&definition));
    assert!(matches!(resolve(definition).await, Err(ResolutionError::HandlerNotFound { .. })));
}

#[tokio::test]
async fn a_method_that_the_handler_lacks_is_an_error() {
    let refund = HandlerDefinition::builder().callable("charge").method("refund").build();
    assert!(MethodDispatchInfo::from(&refund).uses_dispatch);
    assert!(resolve(refund).await.is_ok());
    let nope = HandlerDefinition::builder().callable("charge").method("nope").build();
    let error = resolve(nope).await.unwrap_err();
    assert_eq!(error.to_string(), "handler 'charge' has no method 'nope'; it has call, refund");
}
