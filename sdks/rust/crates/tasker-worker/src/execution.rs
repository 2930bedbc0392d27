//! One attempt: from a lease to the result that is reported.

use std::any::Any;
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use futures_util::FutureExt;
use serde_json::{json, Value};
use tasker_shared::errors::RustStepHandlerError;
use tasker_shared::messaging::StepExecutionResult;
use tasker_shared::registry::MethodDispatchError;
use tasker_shared::types::error_types::PERMANENT_ERROR;
use tasker_shared::wire::{LeaseItem, WireResult};
use tasker_shared::TaskerError;

use crate::engine::report::printable;
use crate::worker::handlers::{PostHandlerCallback, StepHandlerRegistry};

/// Runs the handler of a leased step and returns the result to report. Whatever happens becomes a result: a missing
/// handler or method is `handler_not_found`, a panic `handler_panic`, an error what the
/// [`RustStepHandlerError`] in it says, and any other error `handler_error`, which is tried again.
///
/// Dropping the future cancels the handler. `worker_id` is the worker's name.
pub async fn execute(lease: &LeaseItem, registry: &dyn StepHandlerRegistry, worker_id: &str) -> WireResult {
    WireResult::new(lease, run(lease, registry, worker_id, None).await)
}

/// The same, and tells `callback` of the handler's result.
pub(crate) async fn execute_and_tell(
    lease: &LeaseItem,
    registry: &dyn StepHandlerRegistry,
    worker_id: &str,
    callback: &dyn PostHandlerCallback,
) -> WireResult {
    WireResult::new(lease, run(lease, registry, worker_id, Some(callback)).await)
}

/// The result of an attempt that ran into its time limit; it is tried again.
pub fn handler_timeout(lease: &LeaseItem, limit: Duration, worker_id: &str) -> WireResult {
    let milliseconds = limit.as_millis();
    let message = format!("the handler ran longer than its limit of {milliseconds} ms (timeout_seconds)");
    let context = HashMap::from([
        ("handler_name".to_owned(), json!(callable(lease))),
        ("task_uuid".to_owned(), json!(lease.task_sequence_step.task.task.task_uuid)),
        ("timeout_ms".to_owned(), json!(u64::try_from(milliseconds).unwrap_or(u64::MAX))),
    ]);
    let result = failure(lease, &message, "handler_timeout", true, limit, Some(context));
    WireResult::new(lease, completed(result, worker_id, limit))
}

/// The result of an attempt that a stopping worker could not wait for; it is tried again at once.
pub fn worker_shutdown(lease: &LeaseItem, worker_id: &str) -> WireResult {
    let message = format!("the worker {worker_id} stopped before the handler was done");
    let mut result = failure(lease, &message, "worker_shutdown", true, Duration::ZERO, None);
    result.metadata.custom.insert("retry_after_seconds".to_owned(), json!(0));
    WireResult::new(lease, completed(result, worker_id, Duration::ZERO))
}

/// The result of an attempt that lacks the result of an earlier step; it is tried again.
pub(crate) fn result_unavailable(lease: &LeaseItem, step_name: &str, reason: &str, worker_id: &str) -> WireResult {
    let message = format!("the result of step '{step_name}' cannot be fetched: {reason}");
    let result = failure(lease, &message, "result_unavailable", true, Duration::ZERO, None);
    WireResult::new(lease, completed(result, worker_id, Duration::ZERO))
}

async fn run(
    lease: &LeaseItem,
    registry: &dyn StepHandlerRegistry,
    worker_id: &str,
    callback: Option<&dyn PostHandlerCallback>,
) -> StepExecutionResult {
    let started = Instant::now();
    let step = &lease.task_sequence_step;
    let (result, version) = match AssertUnwindSafe(resolve_and_call(lease, registry, started)).catch_unwind().await {
        Ok(ended) => ended,
        Err(panic) => {
            let message = format!("the handler panicked: {}", panic_text(panic.as_ref()));
            (failure(lease, &message, "handler_panic", false, started.elapsed(), None), None)
        }
    };
    let mut result = completed(result, worker_id, started.elapsed());
    result.metadata.handler_version = result.metadata.handler_version.or(version);
    if let Some(callback) = callback {
        let told = AssertUnwindSafe(callback.on_handler_complete(step, &result, worker_id)).catch_unwind().await;
        if told.is_err() {
            tracing::error!(target: crate::logging::TARGET, callback = callback.name(), "callback_panicked");
        }
    }
    result
}

/// Returns the result, and the handler's version if there is a handler.
async fn resolve_and_call(
    lease: &LeaseItem,
    registry: &dyn StepHandlerRegistry,
    started: Instant,
) -> (StepExecutionResult, Option<String>) {
    let step = &lease.task_sequence_step;
    if callable(lease).is_empty() {
        let message = "the step names no handler (handler.callable)";
        return (failure(lease, message, PERMANENT_ERROR, false, Duration::ZERO, None), None);
    }
    let Some(handler) = registry.get(step).await else {
        return (not_found(lease, &format!("Handler not found: {}", callable(lease))), None);
    };
    let definition = &step.step_definition.handler;
    let returned = if definition.uses_method_dispatch() {
        handler.invoke_method(definition.effective_method(), step).await
    } else {
        handler.call(step).await
    };
    let result = returned.unwrap_or_else(|error| failed(lease, &error, started.elapsed()));
    (result, Some(handler.version().to_owned()))
}

fn failed(lease: &LeaseItem, error: &TaskerError, elapsed: Duration) -> StepExecutionResult {
    let handler_error = match error {
        TaskerError::HandlerError(error) => {
            if let Some(missing) = error.downcast_ref::<MethodDispatchError>() {
                let text = format!("Handler not found: {} ({missing})", callable(lease));
                return not_found(lease, &text);
            }
            RustStepHandlerError::find(error)
        }
        _ => None,
    };
    let (error_type, retryable) =
        handler_error.map_or(("handler_error", true), |known| (known.error_type(), known.is_retryable()));
    let context = HashMap::from([
        ("handler_name".to_owned(), json!(callable(lease))),
        ("task_uuid".to_owned(), json!(lease.task_sequence_step.task.task.task_uuid)),
    ]);
    failure(lease, &text_of(error), error_type, retryable, elapsed, Some(context))
}

/// The error's text with that of its causes.
fn text_of(error: &TaskerError) -> String {
    match error {
        TaskerError::HandlerError(error) => format!("{error:#}"),
        other => other.to_string(),
    }
}

fn not_found(lease: &LeaseItem, message: &str) -> StepExecutionResult {
    failure(lease, message, "handler_not_found", false, Duration::ZERO, None)
}

fn failure(
    lease: &LeaseItem,
    message: &str,
    error_type: &str,
    retryable: bool,
    elapsed: Duration,
    context: Option<HashMap<String, Value>>,
) -> StepExecutionResult {
    StepExecutionResult::failure(
        lease.step_uuid,
        message.to_owned(),
        None,
        Some(error_type.to_owned()),
        retryable,
        milliseconds(elapsed),
        context,
    )
}

/// Fills in what the worker knows, and makes messages fit to be stored.
fn completed(mut result: StepExecutionResult, worker_id: &str, elapsed: Duration) -> StepExecutionResult {
    let metadata = &mut result.metadata;
    metadata.execution_time_ms = milliseconds(elapsed);
    metadata.completed_at = Utc::now();
    metadata.started_at = Some(metadata.completed_at - TimeDelta::milliseconds(metadata.execution_time_ms));
    metadata.worker_id = Some(worker_id.to_owned());
    metadata.worker_hostname = hostname();
    if let Some(error) = &mut result.error {
        error.message = printable(&error.message);
    }
    result
}

fn callable(lease: &LeaseItem) -> &str {
    let step = &lease.task_sequence_step;
    let callable = step.step_definition.handler.callable.as_str();
    if callable.is_empty() {
        &step.workflow_step.template_step_name
    } else {
        callable
    }
}

fn milliseconds(elapsed: Duration) -> i64 {
    i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a message".to_owned())
}

/// The machine's name.
pub(crate) fn hostname() -> Option<String> {
    static NAME: OnceLock<Option<String>> = OnceLock::new();
    NAME.get_or_init(|| {
        let read = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
        read.or_else(|| std::env::var("HOSTNAME").or_else(|_| std::env::var("COMPUTERNAME")).ok())
            .map(|name| name.trim().to_owned())
            .filter(|name| !name.is_empty())
    })
    .clone()
}
