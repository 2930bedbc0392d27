//! What the vectors' operations are in Rust.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use async_trait::async_trait;
use serde::de::DeserializeOwned;
use serde_json::{json, Map, Value};
use tasker_client::TaskRequest;
use tasker_shared::events::domain_events::{DomainEventPayload, DomainEventPublisher};
use tasker_shared::events::EventRegistry;
use tasker_shared::messaging::{CursorConfig, StepExecutionResult};
use tasker_shared::models::core::task_template::{EventDeclaration, HandlerDefinition};
use tasker_shared::registry::{ResolutionContext, ResolvedHandler, ResolverChain, StepHandlerResolver};
use tasker_shared::types::TaskSequenceStep;
use tasker_shared::wire::{LeaseItem, WireResult};
use tasker_worker::batch_processing::{BatchAggregationScenario, BatchWorkerContext};
use tasker_worker::execution;
use tasker_worker_rust::step_handlers::{
    APICapable, BatchableCapable, DefaultStepEventPublisher, StepEventContext, StepEventPublisher,
    StepEventPublisherRegistry,
};
use tasker_worker_rust::RustStepHandlerRegistry;

use crate::fixtures::{registry, First, Second};

const WORKER: &str = "conformance";

/// Why an operation came to no result.
pub enum Failure {
    /// It is not known here.
    Unknown,
    /// It failed.
    Failed(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// The helpers of the capability traits.
struct Capable;

impl APICapable for Capable {}
impl BatchableCapable for Capable {}

/// Performs an operation on a lease.
pub async fn perform(operation: &str, lease: Value, arguments: &[Value]) -> Result<Value, Failure> {
    let lease: LeaseItem = serde_json::from_value(lease)?;
    let step = &lease.task_sequence_step;
    let found = match operation {
        "get_input" => step.get_input(&argument::<String>(arguments, 0)?)?,
        "get_input_or" => {
            let default: Value = argument(arguments, 1)?;
            step.get_input_or(&argument::<String>(arguments, 0)?, default)
        }
        "input_data" => json!(step.task.context.clone().unwrap_or(json!({}))),
        "step_inputs" => json!(step.workflow_step.inputs.clone().unwrap_or(json!({}))),
        "get_config" => step.get_config(&argument::<String>(arguments, 0)?)?,
        "get_dependency_result" => step.get_dependency_result_column_value(&argument::<String>(arguments, 0)?)?,
        "get_dependency_field" => dependency_field(step, arguments)?,
        "get_dependency_result_keys" => json!(step.get_dependency_step_names()),
        "retry_state" => json!({
            "retry_count": step.retry_count(), "max_retries": step.max_retries(),
            "is_retry": step.is_retry(), "is_last_retry": step.is_last_retry(),
        }),
        "checkpoint_state" => json!({
            "has_checkpoint": step.has_checkpoint(),
            "cursor": step.checkpoint_cursor::<Value>(),
            "items_processed": step.checkpoint_items_processed(),
            "accumulated_results": step.accumulated_results::<Value>(),
        }),
        "execute" => json!(execution::execute(&lease, &registry(), WORKER).await),
        "handler_timeout" => {
            let limit = Duration::from_millis(argument(arguments, 0)?);
            json!(execution::handler_timeout(&lease, limit, WORKER))
        }
        "worker_shutdown" => json!(execution::worker_shutdown(&lease, WORKER)),
        "api_call" => api_call(&lease, &argument(arguments, 0)?)?,
        "cursor_ranges" => {
            let most = arguments.get(2).map(|_| argument(arguments, 2)).transpose()?;
            let ranges = Capable.create_cursor_ranges(argument(arguments, 0)?, argument(arguments, 1)?, most);
            let pair = |range: &CursorConfig| json!([range.start_cursor, range.end_cursor]);
            ranges.iter().map(pair).collect()
        }
        "cursor_configs" => {
            json!(Capable.create_cursor_configs(argument(arguments, 0)?, argument(arguments, 1)?))
        }
        "batch_context" => batch_context(step)?,
        "detect_aggregation_scenario" => aggregation_scenario(step, arguments)?,
        "resolver_order" => resolver_order(arguments).await?,
        "registered_twice" => registered_twice(step).await?,
        "unregistered" => unregistered(),
        "event_pattern" => json!(is_told(step, arguments).await?),
        "event_condition" => json!(is_published(step, arguments).await?),
        "publisher_strict" => {
            json!(publishers().get_strict(&argument::<String>(arguments, 0)?)?.name())
        }
        "publisher_or_default" => {
            json!(publishers().get_or_default(Some(&argument::<String>(arguments, 0)?)).name())
        }
        "task_request" => json!(TaskRequest::new(argument::<String>(arguments, 0)?)),
        _ => return Err(Failure::Unknown),
    };
    Ok(found)
}

fn argument<T: DeserializeOwned>(arguments: &[Value], index: usize) -> Result<T> {
    let value = arguments.get(index).with_context(|| format!("argument {index} is missing"))?;
    Ok(T::deserialize(value)?)
}

fn dependency_field(step: &TaskSequenceStep, arguments: &[Value]) -> Result<Value> {
    let names: Vec<&str> = arguments.iter().filter_map(Value::as_str).collect();
    let (step_name, path) = names.split_first().context("the step's name is missing")?;
    step.get_dependency_field(step_name, path)
}

fn api_call(lease: &LeaseItem, answer: &Value) -> Result<Value> {
    let status = u16::try_from(answer["status"].as_u64().context("the status is missing")?)?;
    let result = if (200..300).contains(&status) {
        let data = serde_json::from_str(answer["body"].as_str().context("the body is missing")?)?;
        Capable.api_success(lease.step_uuid, data, status, None, 0)
    } else {
        let kind = Capable.classify_status_code(status).error_type();
        let headers = answer["headers"].as_object().into_iter().flatten();
        let headers = headers.filter_map(|(name, value)| Some((name, value.as_str()?)));
        Capable.api_failure_with_headers(lease.step_uuid, &format!("HTTP {status}"), status, kind, headers, 0)
    };
    Ok(json!(WireResult::new(lease, result)))
}

fn batch_context(step: &TaskSequenceStep) -> Result<Value> {
    let batch = BatchWorkerContext::from_step_data(step)?;
    Ok(json!({
        "batch_id": batch.batch_id(), "batch_size": batch.total_batch_size(),
        "start_cursor": batch.start_position(), "end_cursor": batch.end_position(),
    }))
}

fn aggregation_scenario(step: &TaskSequenceStep, arguments: &[Value]) -> Result<Value> {
    let (analyzer, prefix): (String, String) = (argument(arguments, 0)?, argument(arguments, 1)?);
    let scenario = BatchAggregationScenario::detect(&step.dependency_results, &analyzer, &prefix)?;
    let (batchable_result, batch_results) = match &scenario {
        BatchAggregationScenario::NoBatches { batchable_result } => (Some(&batchable_result.result), Map::new()),
        BatchAggregationScenario::WithBatches { batch_results, .. } => {
            let entry = |(name, result): &(&String, &StepExecutionResult)| ((*name).clone(), result.result.clone());
            (None, batch_results.iter().map(entry).collect())
        }
    };
    Ok(json!({
        "is_no_batches": scenario.is_no_batches(),
        "worker_count": scenario.worker_count(),
        "batchable_result": batchable_result,
        "batch_results": batch_results,
    }))
}

/// Notes when it was asked, and finds nothing.
#[derive(Debug)]
struct Asked {
    name: String,
    priority: u32,
    asked: Arc<Mutex<Vec<String>>>,
}

#[async_trait]
impl StepHandlerResolver for Asked {
    fn can_resolve(&self, _definition: &HandlerDefinition) -> bool {
        true
    }

    async fn resolve(
        &self,
        _definition: &HandlerDefinition,
        _context: &ResolutionContext,
    ) -> Option<Arc<dyn ResolvedHandler>> {
        self.asked.lock().unwrap().push(self.name.clone());
        None
    }

    fn resolver_name(&self) -> &str {
        &self.name
    }

    fn priority(&self) -> u32 {
        self.priority
    }
}

async fn resolver_order(arguments: &[Value]) -> Result<Value> {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let mut chain = ResolverChain::new();
    for (name, priority) in argument::<Vec<(String, u32)>>(arguments, 0)? {
        chain.register(Arc::new(Asked { name, priority, asked: Arc::clone(&asked) }));
    }
    let definition = HandlerDefinition::builder().callable("x").build();
    let found = chain.resolve(&definition, &ResolutionContext::default()).await;
    anyhow::ensure!(found.is_err(), "nobody has a handler");
    let names = asked.lock().unwrap().clone();
    Ok(json!(names))
}

async fn registered_twice(step: &TaskSequenceStep) -> Result<Value> {
    let registry = RustStepHandlerRegistry::new();
    registry.register::<First>();
    registry.register::<Second>();
    Ok(registry.get_handler("which")?.call(step).await?.result["which"].clone())
}

fn unregistered() -> Value {
    let registry = RustStepHandlerRegistry::new();
    registry.register::<First>();
    registry.unregister("which");
    json!(registry.get_handler("which").ok().map(|handler| handler.name().to_owned()))
}

/// Whether a subscriber of a pattern gets an event.
async fn is_told(step: &TaskSequenceStep, arguments: &[Value]) -> Result<bool> {
    let told = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&told);
    let events = Arc::new(EventRegistry::new());
    events.subscribe(
        argument::<String>(arguments, 0)?,
        Arc::new(move |_| {
            counter.fetch_add(1, Ordering::SeqCst);
            Box::pin(async { Ok(()) })
        }),
    );
    let publisher = Arc::new(DomainEventPublisher::new(events));
    let result = StepExecutionResult::success(step.workflow_step.workflow_step_uuid, json!({}), 0, None);
    let context = StepEventContext::new(step.clone(), result.clone());
    let metadata = DefaultStepEventPublisher::new(Arc::clone(&publisher)).build_metadata(&context);
    let payload = DomainEventPayload { task_sequence_step: step.clone(), execution_result: result, payload: json!({}) };
    publisher.publish_event(&argument::<String>(arguments, 1)?, payload, metadata).await;
    Ok(told.load(Ordering::SeqCst) == 1)
}

/// Whether an event with a condition is published after an outcome.
async fn is_published(step: &TaskSequenceStep, arguments: &[Value]) -> Result<bool> {
    let mut step = step.clone();
    let event =
        EventDeclaration { name: "order.done".to_owned(), condition: argument(arguments, 0)?, ..Default::default() };
    step.step_definition.publishes_events = vec![event];
    let step_uuid = step.workflow_step.workflow_step_uuid;
    let failure = |retryable| StepExecutionResult::failure(step_uuid, "no".into(), None, None, retryable, 0, None);
    let result = match argument::<String>(arguments, 1)?.as_str() {
        "success" => StepExecutionResult::success(step_uuid, json!({}), 0, None),
        "retryable_failure" => failure(true),
        "permanent_failure" => failure(false),
        other => anyhow::bail!("unknown outcome {other}"),
    };
    Ok(publishers().publish(&step, &result).await.published_count() == 1)
}

fn publishers() -> StepEventPublisherRegistry {
    StepEventPublisherRegistry::new(Arc::new(DomainEventPublisher::default()))
}
