//! Results of decisions.

use serde_json::{json, Map, Value};
use tasker_shared::messaging::{DecisionPointOutcome, StepExecutionResult};
use uuid::Uuid;

/// For handlers of `decision` steps.
pub trait DecisionCapable {
    /// Goes on with the named steps of the template. `routing_context` is kept with the result, if it is not empty.
    fn decision_success(
        &self,
        step_uuid: Uuid,
        step_names: Vec<String>,
        routing_context: Option<Value>,
        execution_time_ms: i64,
    ) -> StepExecutionResult {
        let count = step_names.len();
        let outcome = DecisionPointOutcome::create_steps(step_names);
        let mut result = json!({"decision_point_outcome": outcome, "steps_created": count});
        add_routing_context(&mut result, routing_context);
        StepExecutionResult::success(step_uuid, result, execution_time_ms, None)
    }

    /// Goes on with none of the decision's steps, because of `reason`.
    fn skip_branches(
        &self,
        step_uuid: Uuid,
        reason: &str,
        routing_context: Option<Value>,
        execution_time_ms: i64,
    ) -> StepExecutionResult {
        let outcome = DecisionPointOutcome::no_branches();
        let mut result = json!({"decision_point_outcome": outcome, "reason": reason, "skip_reason": reason});
        add_routing_context(&mut result, routing_context);
        StepExecutionResult::success(step_uuid, result, execution_time_ms, None)
    }

    /// No decision can be made, and another attempt would not help. The code is `DECISION_ERROR`.
    fn decision_failure(
        &self,
        step_uuid: Uuid,
        message: &str,
        error_type: &str,
        execution_time_ms: i64,
    ) -> StepExecutionResult {
        StepExecutionResult::failure(
            step_uuid,
            message.to_owned(),
            Some("DECISION_ERROR".to_owned()),
            Some(error_type.to_owned()),
            false,
            execution_time_ms,
            None,
        )
    }
}

fn add_routing_context(result: &mut Value, routing_context: Option<Value>) {
    let is_empty = |value: &Value| value.is_null() || value.as_object().is_some_and(Map::is_empty);
    if let Some(context) = routing_context.filter(|context| !is_empty(context)) {
        result["routing_context"] = context;
    }
}
