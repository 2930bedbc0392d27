//! The trait of handlers, and the results that they return.

use std::collections::HashMap;

use async_trait::async_trait;
use serde_json::Value;
use tasker_shared::messaging::StepExecutionResult;
use tasker_shared::registry::MethodDispatchError;
use tasker_shared::types::TaskSequenceStep;
use uuid::Uuid;

use crate::step_handlers::StepHandlerConfig;

/// The code of a step.
///
/// ```
/// use async_trait::async_trait;
/// use serde_json::json;
/// use tasker_worker_rust::step_handlers::StepHandlerConfig;
/// use tasker_worker_rust::{success_result, RustStepHandler, StepExecutionResult, TaskSequenceStep};
///
/// struct Greet;
///
/// #[async_trait]
/// impl RustStepHandler for Greet {
///     fn new(_config: StepHandlerConfig) -> Self {
///         Self
///     }
///
///     fn name(&self) -> &str {
///         "greet"
///     }
///
///     async fn call(&self, step_data: &TaskSequenceStep) -> anyhow::Result<StepExecutionResult> {
///         let who: String = step_data.get_input("name")?;
///         let greeting = json!({"greeting": format!("Hello, {who}!")});
///         Ok(success_result(step_data.workflow_step.workflow_step_uuid, greeting, 0, None))
///     }
/// }
/// ```
///
/// A handler whose lease is lost, or whose task is cancelled, is dropped at its next `.await`; whatever it has to undo
/// belongs into a `Drop`. Work that blocks its thread belongs into `tokio::task::spawn_blocking`.
#[async_trait]
pub trait RustStepHandler: Send + Sync {
    /// Executes the step. It may be called again for the same step (after a failure, or after a lost worker), so calls
    /// to others that must not happen twice use `workflow_step_uuid` as their idempotency key.
    ///
    /// # Errors
    ///
    /// An error fails the attempt. A [`RustStepHandlerError`](tasker_shared::RustStepHandlerError) within it says
    /// whether another one may help; any other error counts as one where it may.
    async fn call(&self, step_data: &TaskSequenceStep) -> anyhow::Result<StepExecutionResult>;

    /// The name by which templates call the handler: their `handler.callable`.
    fn name(&self) -> &str;

    /// Makes the handler; called once, when it is registered.
    fn new(config: StepHandlerConfig) -> Self
    where
        Self: Sized;

    /// Executes a step whose template names a `handler.method`. By default there is only `call`.
    ///
    /// # Errors
    ///
    /// As for `call`; a [`MethodDispatchError`] for a method that the handler does not have, which fails the step for
    /// good.
    async fn invoke_method(&self, method: &str, step_data: &TaskSequenceStep) -> anyhow::Result<StepExecutionResult> {
        match method {
            "call" => self.call(step_data).await,
            _ => Err(MethodDispatchError::new(self.name(), method, &["call"]).into()),
        }
    }
}

/// A success. `result_data` is what later steps find; `custom_metadata` is kept with it for people.
pub fn success_result(
    step_uuid: Uuid,
    result_data: Value,
    execution_time_ms: i64,
    custom_metadata: Option<HashMap<String, Value>>,
) -> StepExecutionResult {
    StepExecutionResult::success(step_uuid, result_data, execution_time_ms, custom_metadata)
}

/// A failure.
///
/// `error_code` is the handler's own; `error_type` is one of [`error_types`](tasker_shared::types::error_types), or any
/// other word; `retryable` says whether another attempt may help; `context` is what was going on.
pub fn error_result(
    step_uuid: Uuid,
    error_message: String,
    error_code: Option<String>,
    error_type: Option<String>,
    retryable: bool,
    execution_time_ms: i64,
    context: Option<HashMap<String, Value>>,
) -> StepExecutionResult {
    StepExecutionResult::failure(
        step_uuid,
        error_message,
        error_code,
        error_type,
        retryable,
        execution_time_ms,
        context,
    )
}
