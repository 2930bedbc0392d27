//! The handlers that the vectors run.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{json, Value};
use tasker_worker_rust::step_handlers::{
    BatchableCapable, DecisionCapable, MethodDispatchError, RustStepHandlerRegistryAdapter, StepHandlerConfig,
};
use tasker_worker_rust::{
    error_result, success_result, RustStepHandler, RustStepHandlerError, RustStepHandlerRegistry, StepExecutionResult,
    TaskSequenceStep,
};
use uuid::Uuid;

use crate::process_order::ProcessOrderHandler;

type Outcome = anyhow::Result<StepExecutionResult>;

/// Everything that the vectors name.
pub fn registry() -> RustStepHandlerRegistryAdapter {
    let registry = RustStepHandlerRegistry::new();
    registry.register::<Echo>();
    registry.register::<Passthrough>();
    registry.register::<ThrowPermanent>();
    registry.register::<ThrowRetryable>();
    registry.register::<ThrowValidation>();
    registry.register::<ThrowGeneric>();
    registry.register::<ThrowPanic>();
    registry.register::<MultiMethod>();
    registry.register::<Decision>();
    registry.register::<Analyzer>();
    registry.register::<BatchWorker>();
    registry.register::<Checkpoint>();
    let chapter = ProcessOrderHandler::new(StepHandlerConfig::empty());
    registry.register_handler_as("seed_process_order", Arc::new(chapter));
    RustStepHandlerRegistryAdapter::new(registry)
}

/// Defines a handler by its name and what it does with a step.
macro_rules! handler {
    ($handler:ident, $name:literal, $call:expr $(, $invoke:item)?) => {
        pub struct $handler;

        #[async_trait]
        impl RustStepHandler for $handler {
            fn new(_config: StepHandlerConfig) -> Self {
                Self
            }

            fn name(&self) -> &str {
                $name
            }

            async fn call(&self, step_data: &TaskSequenceStep) -> Outcome {
                let call: fn(&TaskSequenceStep) -> Outcome = $call;
                call(step_data)
            }

            $($invoke)?
        }
    };
}

handler!(Echo, "echo", |step| Ok(success(step, json!(&step.task.context))));

handler!(Passthrough, "passthrough", |step| {
    let metadata: Option<HashMap<String, Value>> = step.get_config("metadata").ok();
    if step.get_config("success")? {
        let result = step.get_config("result").unwrap_or_default();
        return Ok(success_result(uuid(step), result, 0, metadata));
    }
    Ok(error_result(
        uuid(step),
        step.get_config("message")?,
        step.get_config("error_code").ok(),
        step.get_config("error_type").ok(),
        step.get_config("retryable").unwrap_or(true),
        0,
        metadata,
    ))
});

handler!(ThrowPermanent, "throw_permanent", |_| {
    Err(RustStepHandlerError::ExecutionError { message: "no".into(), retryable: false }.into())
});

handler!(ThrowRetryable, "throw_retryable", |_| {
    Err(RustStepHandlerError::ExecutionError { message: "later".into(), retryable: true }.into())
});

handler!(ThrowValidation, "throw_validation", |_| {
    Err(RustStepHandlerError::ValidationError { message: "invalid".into() }.into())
});

handler!(ThrowGeneric, "throw_generic", |step| {
    let message: String = step.get_config("message").unwrap_or_else(|_| "boom".into());
    Err(anyhow::anyhow!(message.repeat(step.get_config("repeat").unwrap_or(1))))
});

handler!(ThrowPanic, "throw_panic", |_| panic!("boom"));

handler!(
    MultiMethod,
    "multi_method",
    |step| Ok(success(step, json!({"method": "call"}))),
    async fn invoke_method(&self, method: &str, step_data: &TaskSequenceStep) -> Outcome {
        match method {
            "refund" => Ok(success(step_data, json!({"method": "refund"}))),
            _ => Err(MethodDispatchError::new(self.name(), method, &["call", "refund"]).into()),
        }
    }
);

impl DecisionCapable for Decision {}

handler!(Decision, "decision", |step| {
    if let Ok(steps) = step.get_config("steps") {
        return Ok(Decision.decision_success(uuid(step), steps, step.get_config("routing_context").ok(), 0));
    }
    if let Ok(reason) = step.get_config::<String>("skip") {
        return Ok(Decision.skip_branches(uuid(step), &reason, None, 0));
    }
    let message: String = step.get_config("fail")?;
    Ok(Decision.decision_failure(uuid(step), &message, "decision_error", 0))
});

impl BatchableCapable for Analyzer {}

handler!(Analyzer, "analyzer", |step| {
    let total = step.get_config("total")?;
    let ranges = Analyzer.create_cursor_ranges(total, step.get_config("batch_size")?, None);
    Ok(Analyzer.batch_analyzer_success(uuid(step), "w", ranges, total, 0))
});

impl BatchableCapable for BatchWorker {}

handler!(BatchWorker, "batch_worker", |step| {
    let count = |name| step.get_config(name);
    let (processed, succeeded) = (count("processed")?, count("succeeded")?);
    let (failed, skipped) = (count("failed")?, count("skipped")?);
    Ok(BatchWorker.batch_worker_success(uuid(step), processed, succeeded, failed, skipped, 0))
});

impl BatchableCapable for Checkpoint {}

handler!(Checkpoint, "checkpoint", |step| {
    let cursor = step.get_config("cursor")?;
    let done = step.get_config("items_processed")?;
    Ok(Checkpoint.checkpoint_yield(uuid(step), cursor, done, step.get_config("accumulated").ok()))
});

handler!(First, "which", |step| Ok(success(step, json!({"which": "first"}))));

handler!(Second, "which", |step| Ok(success(step, json!({"which": "second"}))));

fn uuid(step: &TaskSequenceStep) -> Uuid {
    step.workflow_step.workflow_step_uuid
}

fn success(step: &TaskSequenceStep, result: Value) -> StepExecutionResult {
    success_result(uuid(step), result, 0, None)
}
