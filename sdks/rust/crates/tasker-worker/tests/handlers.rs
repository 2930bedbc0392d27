//! Finding handlers, and running them outside of a worker.

mod support;

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use serde_json::{json, Value};
use support::{lease, works};
use tasker_shared::messaging::StepExecutionResult;
use tasker_shared::registry::ResolverChain;
use tasker_shared::types::TaskSequenceStep;
use tasker_shared::wire::LeaseItem;
use tasker_worker::execution::execute;
use tasker_worker::worker::handlers::{
    HandlerExecutor, HybridStepHandlerRegistry, PostHandlerCallback, ResolverChainRegistry, StepHandlerRegistry,
};

fn lease_of(callable: &str, change: impl FnOnce(&mut Value)) -> LeaseItem {
    let mut json = lease(callable, 1);
    change(&mut json["task_sequence_step"]);
    serde_json::from_value(json).unwrap()
}

async fn result_of(registry: &dyn StepHandlerRegistry, lease: &LeaseItem) -> Value {
    serde_json::to_value(execute(lease, registry, "tester").await).unwrap()
}

fn registry_with(name: &str) -> ResolverChainRegistry {
    let registry = ResolverChainRegistry::new();
    registry.register(name, works(name));
    registry
}

#[tokio::test]
async fn a_template_may_name_the_resolver_and_the_method() {
    let registry = registry_with("work");
    for (key, value, success) in [
        ("resolver", "explicit_mapping", true),
        ("resolver", "ExplicitMappingResolver", true),
        ("resolver", "ghost", false),
        ("method", "call", true),
        ("method", "refund", false),
    ] {
        let lease = lease_of("work", |step| step["step_definition"]["handler"][key] = json!(value));
        let result = result_of(&registry, &lease).await;
        assert_eq!(result["success"], success, "{key}: {value}");
        if !success {
            assert_eq!(result["error"]["error_type"], "handler_not_found");
            assert_eq!(result["error"]["retryable"], false);
        }
    }
}

#[tokio::test]
async fn a_step_without_a_callable_calls_what_its_template_step_is_named() {
    let registry = registry_with("work");
    let lease = lease_of("work", |step| step["step_definition"]["handler"]["callable"] = json!(null));
    assert_eq!(result_of(&registry, &lease).await["success"], true);
    let nameless = lease_of("", |_| ());
    assert_eq!(result_of(&registry, &nameless).await["error"]["error_type"], "permanent_error");
}

#[tokio::test]
async fn a_hybrid_registry_asks_its_resolvers_first_and_then_the_other() {
    let fallback = registry_with("other");
    fallback.register("work", works("wrong"));
    let hybrid = HybridStepHandlerRegistry::new(registry_with("work"), Arc::new(fallback));
    let found = hybrid.get(&lease_of("work", |_| ()).task_sequence_step).await.unwrap();
    assert_eq!(found.name(), "work");
    assert!(hybrid.get(&lease_of("other", |_| ()).task_sequence_step).await.is_some());
    assert!(hybrid.get(&lease_of("nobody", |_| ()).task_sequence_step).await.is_none());
    assert_eq!(hybrid.registered_handlers(), ["other", "work"]);
    assert!(hybrid.handler_available("other") && !hybrid.handler_available("nobody"));
}

#[tokio::test]
async fn a_registry_takes_the_resolvers_of_a_chain() {
    let inner = registry_with("inner");
    let chain = ResolverChain::new().with_resolver(inner.explicit().clone());
    let registry = ResolverChainRegistry::with_chain(chain);
    assert_eq!(registry.registered_handlers(), ["inner"]);
    assert_eq!(result_of(&registry, &lease_of("inner", |_| ())).await["success"], true);
}

#[derive(Default)]
struct Listens {
    heard: Mutex<Vec<bool>>,
}

#[async_trait]
impl PostHandlerCallback for Listens {
    async fn on_handler_complete(&self, _step: &TaskSequenceStep, result: &StepExecutionResult, worker_id: &str) {
        assert_eq!(worker_id, "tester");
        self.heard.lock().unwrap().push(result.success);
        assert!(result.success, "a callback may panic");
    }

    fn name(&self) -> &str {
        "listens"
    }
}

#[tokio::test]
async fn a_callback_is_told_of_every_result_and_cannot_change_it() {
    let callback = Arc::new(Listens::default());
    let executor = HandlerExecutor::new(Arc::new(registry_with("work")), "tester").with_callback(callback.clone());
    assert_eq!(executor.execute(&lease_of("work", |_| ())).await.success(), Some(true));
    assert_eq!(executor.execute(&lease_of("nobody", |_| ())).await.success(), Some(false));
    assert_eq!(*callback.heard.lock().unwrap(), [true, false]);
}
