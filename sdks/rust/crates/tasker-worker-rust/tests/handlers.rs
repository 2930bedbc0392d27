//! Handlers are registered, found, run, and tested without a server.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{json, Value};
use tasker_shared::registry::ResolutionContext;
use tasker_worker::batch_processing::BatchWorkerContext;
use tasker_worker::worker::handlers::{ExecutableHandler, StepHandlerRegistry};
use tasker_worker_rust::step_handlers::{
    BatchableCapable, MethodDispatchError, RustStepHandlerRegistryAdapter, StepHandlerConfig,
};
use tasker_worker_rust::testing::{run, StepBuilder};
use tasker_worker_rust::{
    success_result, GlobalRustStepHandlerRegistry, RegisterHandlers, RustStepHandler, RustStepHandlerError,
    RustStepHandlerRegistry, StepExecutionResult, TaskSequenceStep, Worker,
};

/// Charges, and refunds if the template asks for that method.
struct Charge {
    config: StepHandlerConfig,
}

#[async_trait]
impl RustStepHandler for Charge {
    fn new(config: StepHandlerConfig) -> Self {
        Self { config }
    }

    fn name(&self) -> &str {
        "charge"
    }

    async fn call(&self, step_data: &TaskSequenceStep) -> anyhow::Result<StepExecutionResult> {
        let amount: i64 = step_data
            .get_input("amount")
            .map_err(|_| RustStepHandlerError::InvalidContext { field: "amount".into() })?;
        Ok(done(step_data, json!({"charged": amount, "currency": self.config.get_string("currency")})))
    }

    async fn invoke_method(&self, method: &str, step_data: &TaskSequenceStep) -> anyhow::Result<StepExecutionResult> {
        match method {
            "refund" => Ok(done(step_data, json!({"refunded": true}))),
            _ => Err(MethodDispatchError::new(self.name(), method, &["call", "refund"]).into()),
        }
    }
}

/// Does a batch, with a checkpoint after every item.
struct Count;

impl BatchableCapable for Count {}

#[async_trait]
impl RustStepHandler for Count {
    fn new(_config: StepHandlerConfig) -> Self {
        Self
    }

    fn name(&self) -> &str {
        "count"
    }

    async fn call(&self, step_data: &TaskSequenceStep) -> anyhow::Result<StepExecutionResult> {
        let step_uuid = step_data.workflow_step.workflow_step_uuid;
        let batch = BatchWorkerContext::from_step_data(step_data)?;
        let next = step_data.checkpoint_cursor().unwrap_or(batch.start_position()) + 1;
        let done = next - batch.start_position();
        if next < batch.end_position() {
            return Ok(self.checkpoint_yield(step_uuid, json!(next), done, None));
        }
        Ok(self.batch_worker_success(step_uuid, done, done, 0, 0, 0))
    }
}

fn done(step: &TaskSequenceStep, result: Value) -> StepExecutionResult {
    success_result(step.workflow_step.workflow_step_uuid, result, 0, None)
}

fn charge() -> Charge {
    Charge::new(StepHandlerConfig::empty())
}

fn registry() -> RustStepHandlerRegistry {
    let registry = RustStepHandlerRegistry::new();
    registry.register::<Charge>();
    registry
}

#[test]
fn a_registry_knows_its_handlers_by_name() {
    let registry = registry();
    registry.register_handler_as("bill", Arc::new(charge()));

    assert_eq!(registry.list_handlers(), ["bill", "charge"]);
    assert_eq!(registry.handler_count(), 2);
    assert!(registry.is_registered("bill") && !registry.has_handler("ghost"));
    assert!(registry.get_handler("ghost").is_err());
    assert!(registry.unregister("bill") && !registry.unregister("bill"));
}

#[tokio::test]
async fn a_handler_is_made_with_its_configuration() {
    let config = StepHandlerConfig::new([("currency".to_owned(), json!("EUR"))].into());
    let step = StepBuilder::new().context(json!({"amount": 5})).build();

    let result = run(Charge::new(config), &step).await;

    assert_eq!(result.result, json!({"charged": 5, "currency": "EUR"}));
}

#[tokio::test]
async fn a_step_finds_its_handler_by_its_callable_and_else_by_its_name() {
    let adapter = RustStepHandlerRegistryAdapter::new(registry());
    let by_callable = StepBuilder::new().name("charge").build();
    let mut by_name = by_callable.clone();
    by_name.step_definition.handler.callable = String::new();
    let mut neither = StepBuilder::new().name("ghost").build();
    neither.workflow_step.name = "charge".to_owned();

    assert!(adapter.get(&by_callable).await.is_some());
    assert!(adapter.get(&by_name).await.is_some());
    assert!(adapter.get(&neither).await.is_none());
    assert_eq!(adapter.registered_handlers(), ["charge"]);
}

#[tokio::test]
async fn a_resolver_that_is_not_there_finds_nothing() {
    let adapter = RustStepHandlerRegistryAdapter::new(registry());
    for (hint, expected) in [("explicit_mapping", true), ("ExplicitMappingResolver", true), ("class_constant", false)] {
        let mut step = StepBuilder::new().name("charge").build();
        step.step_definition.handler.resolver = Some(hint.to_owned());
        assert_eq!(adapter.get(&step).await.is_some(), expected, "{hint}");
    }
}

#[tokio::test]
async fn the_handlers_of_a_registry_can_be_part_of_a_chain() {
    let chain = RustStepHandlerRegistryAdapter::new(registry()).to_resolver_chain();
    let mut step = StepBuilder::new().name("charge").build();
    step.step_definition.handler.method = Some("refund".to_owned());

    let found = chain.resolve(&step.step_definition.handler, &ResolutionContext::default()).await.unwrap();
    let handler = ExecutableHandler::from_resolved(found.as_ref()).expect("it can be run");

    assert_eq!(handler.run(&step).await.unwrap().result, json!({"refunded": true}));
}

#[tokio::test]
async fn handlers_that_are_registered_later_are_found_too() {
    let shared = Arc::new(RustStepHandlerRegistry::new());
    let adapter = RustStepHandlerRegistryAdapter::new(Arc::clone(&shared));
    let step = StepBuilder::new().name("charge").build();
    assert!(adapter.get(&step).await.is_none());

    shared.register::<Charge>();

    assert!(adapter.get(&step).await.is_some());
}

#[test]
fn there_is_one_registry_for_the_whole_process() {
    GlobalRustStepHandlerRegistry::instance().register::<Charge>();
    assert!(RustStepHandlerRegistryAdapter::with_default_handlers().handler_available("charge"));
}

#[tokio::test]
async fn an_error_of_the_handler_is_the_failure_that_a_worker_reports() {
    let result = run(charge(), &StepBuilder::new().build()).await;

    let error = result.error.expect("it failed");
    assert_eq!(result.status, "failed");
    assert_eq!(error.error_type.as_deref(), Some("validation_error"));
    assert_eq!(error.message, "the field 'amount' of the task's context is missing or invalid");
    assert!(!error.retryable);
}

#[tokio::test]
async fn another_method_than_call_runs_if_the_step_names_it() {
    let mut step = StepBuilder::new().build();
    step.step_definition.handler.method = Some("refund".to_owned());
    assert_eq!(run(charge(), &step).await.result, json!({"refunded": true}));

    step.step_definition.handler.method = Some("nope".to_owned());
    assert_eq!(run(charge(), &step).await.error_type(), Some("handler_not_found"));
}

#[tokio::test]
async fn a_batch_goes_on_from_its_checkpoint() {
    let inputs = json!({"cursor": {"batch_id": "002", "start_cursor": 10, "end_cursor": 12, "batch_size": 2}});
    let step = StepBuilder::new().inputs(inputs);

    let first = run(Count, &step.clone().build()).await;
    let saved = first.checkpoint_yield().expect("it saved a checkpoint");
    assert_eq!((saved.cursor.clone(), saved.items_processed), (json!(11), 1));

    let second = run(Count, &step.checkpoint(json!({"cursor": saved.cursor})).build()).await;
    assert_eq!(second.result["items_processed"], json!(2));
}

#[test]
fn a_worker_is_built_with_handlers() {
    let worker = Worker::builder().namespace("shop").register::<Charge>().register_handler(Count).max_concurrent(3);
    assert_eq!(worker.build().expect("the settings are valid").settings().max_concurrent, 3);
}

#[test]
fn settings_of_a_handler_are_read_by_type() {
    let data = json!({"s": "a", "b": true, "i": -1, "u": 2, "f": 0.5});
    let config = StepHandlerConfig::new(serde_json::from_value(data).unwrap());

    assert_eq!(config.get_string("s").as_deref(), Some("a"));
    assert_eq!(config.get_bool("b"), Some(true));
    assert_eq!(config.get_i64("i"), Some(-1));
    assert_eq!(config.get_u64("u"), Some(2));
    assert_eq!(config.get_f64("f"), Some(0.5));
    assert_eq!(config.get_u64("i"), None);
    assert!(config.has("s") && !config.has("x"));
}
