//! Handlers that compute something, or fail.

use std::sync::Arc;

use anyhow::bail;
use async_trait::async_trait;
use serde_json::{json, Map, Value};
use tasker_worker_rust::step_handlers::{MethodDispatchError, RustStepHandlerRegistry, StepHandlerConfig};
use tasker_worker_rust::{
    error_result, success_result, RustStepHandler, RustStepHandlerError, StepExecutionResult, TaskSequenceStep,
};

use crate::handler;

const LANGUAGE: &str = "rust";

pub fn register(registry: &RustStepHandlerRegistry) {
    registry.register::<Echo>();
    registry.register::<Add>();
    registry.register::<Retry>();
    registry.register::<Permanent>();
    registry.register::<Noop>();
    registry.register::<Methods>();
    registry.register::<Function>();
    registry.register::<Language>();
    registry.register_handler_as("live_rust", Arc::new(Language));
}

/// A success with this result.
pub fn success(step: &TaskSequenceStep, result: Value) -> StepExecutionResult {
    success_result(step.workflow_step.workflow_step_uuid, result, 0, None)
}

handler!(
    /// Tells what the step was given.
    Echo, "live_echo", |step| {
        let dependencies: Map<String, Value> =
            step.dependency_results.iter().map(|(name, result)| (name.clone(), result.result.clone())).collect();
        Ok(success(step, json!({
            "language": LANGUAGE,
            "input": step.task.context,
            "dependencies": dependencies,
            "attempt": step.retry_count() + 1,
            "config": step.step_definition.handler.initialization,
        })))
    }
);

handler!(
    /// Adds a number to the sums of other steps.
    Add, "live_add", |step| {
        let others: Vec<String> = step.get_config("from").unwrap_or_default();
        let mut sum: i64 = step.get_config("add")?;
        for name in others {
            sum += step.get_dependency_field::<i64>(&name, &["sum"])?;
        }
        Ok(success(step, json!({"sum": sum})))
    }
);

handler!(
    /// Fails a number of times, in turn with an error and with a result.
    Retry, "live_retry", |step| {
        let retries = step.retry_count();
        if retries >= step.get_input("failures")? {
            return Ok(success(step, json!({"attempts": retries + 1})));
        }
        if retries % 2 == 0 {
            bail!(RustStepHandlerError::ExecutionError { message: "not yet".into(), retryable: true });
        }
        let step_uuid = step.workflow_step.workflow_step_uuid;
        Ok(error_result(step_uuid, "not yet".into(), None, Some("retryable_error".into()), true, 0, None))
    }
);

handler!(
    /// Fails for good.
    Permanent, "live_permanent", |_step| {
        bail!(RustStepHandlerError::ExecutionError { message: "card declined".into(), retryable: false });
    }
);

handler!(
    /// Does nothing.
    Noop, "live_noop", |step| { Ok(success(step, json!({}))) }
);

handler!(
    /// Tells an input and a dependency.
    Function, "live_function", |step| {
        let order_id = step.get_input_or("order_id", Value::Null);
        let total = step.dependency_results.get("first").map(|first| &first.result);
        Ok(success(step, json!({"order_id": order_id, "total": total})))
    }
);

handler!(
    /// Adds this language to the trail of those before.
    Language, "live_language", |step| {
        let after: String = step.get_config("after").unwrap_or_default();
        let mut trail: Vec<String> = step.get_dependency_field(&after, &["trail"]).unwrap_or_default();
        trail.push(LANGUAGE.to_owned());
        Ok(success(step, json!({"language": LANGUAGE, "trail": trail})))
    }
);

/// Has two methods.
pub struct Methods;

#[async_trait]
impl RustStepHandler for Methods {
    fn new(_config: StepHandlerConfig) -> Self {
        Self
    }

    fn name(&self) -> &str {
        "live_methods"
    }

    async fn call(&self, step: &TaskSequenceStep) -> anyhow::Result<StepExecutionResult> {
        Ok(success(step, json!({"method": "call"})))
    }

    async fn invoke_method(&self, method: &str, step: &TaskSequenceStep) -> anyhow::Result<StepExecutionResult> {
        match method {
            "call" => self.call(step).await,
            "refund" => Ok(success(step, json!({"method": "refund"}))),
            _ => Err(MethodDispatchError::new(self.name(), method, &["call", "refund"]).into()),
        }
    }
}
