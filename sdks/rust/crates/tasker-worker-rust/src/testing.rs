//! Testing handlers without a server.
//!
//! ```
//! # use tasker_worker_rust::step_handlers::StepHandlerConfig;
//! # use tasker_worker_rust::{success_result, RustStepHandler, StepExecutionResult, TaskSequenceStep};
//! # struct Total;
//! # #[async_trait::async_trait]
//! # impl RustStepHandler for Total {
//! #     fn new(_config: StepHandlerConfig) -> Self { Self }
//! #     fn name(&self) -> &str { "total" }
//! #     async fn call(&self, step_data: &TaskSequenceStep) -> anyhow::Result<StepExecutionResult> {
//! #         let price: f64 = step_data.get_dependency_field("cart", &["price"])?;
//! #         let total = serde_json::json!({"total": price * 2.0});
//! #         Ok(success_result(step_data.workflow_step.workflow_step_uuid, total, 0, None))
//! #     }
//! # }
//! use serde_json::json;
//! use tasker_worker_rust::testing::{run, StepBuilder};
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let step = StepBuilder::new().dependency("cart", json!({"price": 5.0})).build();
//! let result = run(Total::new(StepHandlerConfig::empty()), &step).await;
//! assert_eq!(result.result, json!({"total": 10.0}));
//! # });
//! ```

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;
use tasker_shared::messaging::StepExecutionResult;
use tasker_shared::types::{TaskForOrchestration, TaskSequenceStep, WorkflowStepWithName};
use tasker_shared::wire::{LeaseItem, WireOutcome};
use tasker_worker::execution;
use uuid::Uuid;

use crate::step_handlers::{RustStepHandler, RustStepHandlerRegistry, RustStepHandlerRegistryAdapter};

/// Builds the input of a handler: a first attempt without anything, unless told otherwise.
#[derive(Debug, Clone)]
pub struct StepBuilder {
    step: TaskSequenceStep,
}

impl Default for StepBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl StepBuilder {
    /// The first of three attempts of the step `step` of the task `task` in the namespace `default`, with ids of their
    /// own. The task's context is an empty object.
    pub fn new() -> Self {
        let mut task = TaskForOrchestration {
            task_name: "task".to_owned(),
            task_version: "1.0.0".to_owned(),
            namespace_name: "default".to_owned(),
            ..Default::default()
        };
        task.task.task_uuid = Uuid::new_v4();
        task.task.correlation_id = Uuid::new_v4();
        task.task.context = Some(Value::Object(serde_json::Map::new()));
        let workflow_step = WorkflowStepWithName {
            workflow_step_uuid: Uuid::new_v4(),
            task_uuid: task.task_uuid,
            attempts: Some(0),
            max_attempts: Some(3),
            in_process: true,
            ..Default::default()
        };
        let step = TaskSequenceStep {
            task,
            workflow_step,
            dependency_results: HashMap::new(),
            step_definition: Default::default(),
        };
        Self { step }.name("step")
    }

    /// Sets the step's name, which is also its handler's callable.
    pub fn name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.step.workflow_step.name);
        name.clone_into(&mut self.step.workflow_step.template_step_name);
        name.clone_into(&mut self.step.step_definition.name);
        name.clone_into(&mut self.step.step_definition.handler.callable);
        self
    }

    /// Sets the task's input.
    pub fn context(mut self, context: Value) -> Self {
        self.step.task.task.context = Some(context);
        self
    }

    /// Adds the result of a step before this one: what its handler returned.
    pub fn dependency(mut self, step_name: &str, result: Value) -> Self {
        let result = StepExecutionResult::success(Uuid::new_v4(), result, 0, None);
        self.step.dependency_results.insert(step_name.to_owned(), result);
        self
    }

    /// Adds a value to the handler's configuration, `handler.initialization` in the template.
    pub fn config(mut self, key: &str, value: Value) -> Self {
        self.step.step_definition.handler.initialization.insert(key.to_owned(), value);
        self
    }

    /// Sets what is given to this step alone: the cursor of a batch worker.
    pub fn inputs(mut self, inputs: Value) -> Self {
        self.step.workflow_step.inputs = Some(inputs);
        self
    }

    /// Sets the number of attempts before this one.
    pub fn attempts(mut self, attempts: i32) -> Self {
        self.step.workflow_step.attempts = Some(attempts);
        self
    }

    /// Sets the number of attempts that the template allows, the first included.
    pub fn max_attempts(mut self, max_attempts: i32) -> Self {
        self.step.workflow_step.max_attempts = Some(max_attempts);
        self.step.step_definition.retry.max_attempts = u32::try_from(max_attempts).unwrap_or(0);
        self
    }

    /// Sets what an earlier execution saved: `{"cursor", "items_processed", "accumulated_results"}`.
    pub fn checkpoint(mut self, checkpoint: Value) -> Self {
        self.step.workflow_step.checkpoint = Some(checkpoint);
        self
    }

    /// The input.
    pub fn build(self) -> TaskSequenceStep {
        self.step
    }
}

/// Executes a step the way a worker does, and returns what it would report: an error or a panic of the handler is a
/// failure, and the method that the step names runs instead of `call`. The name of the handler does not matter.
pub async fn run(handler: impl RustStepHandler + 'static, step: &TaskSequenceStep) -> StepExecutionResult {
    let callable = step.step_definition.handler.callable.clone();
    let registry = RustStepHandlerRegistry::new();
    registry.register_handler_as(callable, Arc::new(handler));
    let step_uuid = step.workflow_step.workflow_step_uuid;
    let lease = LeaseItem {
        step_uuid,
        lease_id: 1,
        attempt: step.retry_count() + 1,
        reruns: 0,
        omitted_results: Vec::new(),
        task_sequence_step: step.clone(),
    };
    let reported = execution::execute(&lease, &RustStepHandlerRegistryAdapter::new(registry), "test").await;
    match reported.outcome {
        WireOutcome::Ended(ending) => StepExecutionResult {
            step_uuid,
            success: ending.success,
            result: ending.result,
            metadata: ending.metadata,
            status: ending.status,
            error: ending.error,
            orchestration_metadata: ending.orchestration_metadata,
        },
        WireOutcome::Checkpoint { checkpoint } => StepExecutionResult::checkpoint(
            step_uuid,
            checkpoint.cursor,
            checkpoint.items_processed,
            checkpoint.accumulated_results,
        ),
    }
}
