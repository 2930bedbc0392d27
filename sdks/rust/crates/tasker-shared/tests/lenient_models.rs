//! What the server sends is read leniently, and what handlers return is written the way the server expects it.

use serde_json::{json, Value};
use tasker_shared::messaging::message::{BackoffHint, BackoffHintType, OrchestrationMetadata};
use tasker_shared::messaging::{
    BatchProcessingOutcome, DecisionPointOutcome, StepExecutionError, StepExecutionResult, StepResultStatus,
};
use tasker_shared::models::core::batch_worker::BatchWorkerResult;
use tasker_shared::models::core::task_template::{BackoffStrategy, StepDefinition, StepType};
use tasker_shared::types::TaskSequenceStep;
use tasker_shared::wire::{LeaseItem, WireResult};
use uuid::Uuid;

const STEP: &str = "0192f0c1-2d3e-7a4b-8c5d-6e7f80000001";

fn step(value: Value) -> TaskSequenceStep {
    serde_json::from_value(value).expect("the step can be read")
}

#[test]
fn a_task_may_be_nested_or_flat() {
    let nested =
        json!({"task": {"task": {"context": {"a": 1}, "priority": 7}, "task_name": "order"}, "workflow_step": {}});
    let flat = json!({"task": {"context": {"a": 1}, "priority": 7, "task_name": "order"}, "workflow_step": {}});

    for step in [step(nested), step(flat)] {
        assert_eq!(step.task.context, Some(json!({"a": 1})));
        assert_eq!(step.task.task.priority, 7);
        assert_eq!(step.task.task_name, "order");
    }
}

#[test]
fn null_is_the_same_as_absent() {
    let without = step(json!({"task": {}, "workflow_step": {}}));
    let with_nulls = step(json!({
        "task": {"task_uuid": null, "context": null, "identity_hash": null, "created_at": null, "tags": null},
        "workflow_step": {"name": null, "attempts": null, "retryable": null, "inputs": null, "checkpoint": null},
        "dependency_results": {"gone": null},
        "step_definition": {
            "type": null, "dependencies": null, "publishes_events": null, "batch_config": null,
            "handler": {"callable": null, "initialization": null},
            "retry": {"retryable": null, "max_attempts": null, "backoff": null},
        },
    }));

    assert_eq!(json!(without), json!(with_nulls));
    assert!(!with_nulls.has_dependency_result("gone"));
    assert!(with_nulls.workflow_step.retryable);
    assert_eq!(with_nulls.step_definition, StepDefinition::default());
}

#[test]
fn unknown_keys_and_words_do_not_matter() {
    let step = step(json!({
        "task": {"color": "red"}, "workflow_step": {"shape": 1}, "size": 2,
        "step_definition": {"type": "brand_new", "retry": {"backoff": "brownian"}, "result_schema": {}},
    }));

    assert_eq!(step.step_definition.step_type, StepType::Standard);
    assert_eq!(step.step_definition.retry.backoff, BackoffStrategy::Exponential);
}

#[test]
fn a_bare_dependency_counts_as_the_result_of_a_success() {
    let step = step(json!({
        "task": {}, "workflow_step": {},
        "dependency_results": {
            "envelope": {"success": true, "result": {"n": 1}},
            "bare": {"n": 2},
            "scalar": 3,
            "odd": {"success": true, "result": 4, "metadata": "none of it"},
        },
    }));

    assert_eq!(step.get_dependency_field::<i64>("envelope", &["n"]).unwrap(), 1);
    assert_eq!(step.get_dependency_field::<i64>("bare", &["n"]).unwrap(), 2);
    assert_eq!(step.get_dependency_result_column_value::<i64>("scalar").unwrap(), 3);
    assert_eq!(step.get_dependency_result_column_value::<i64>("odd").unwrap(), 4);
    assert!(step.dependency_results["scalar"].success);
}

#[test]
fn a_step_reads_the_same_after_it_was_written() {
    let first = step(json!({
        "task": {"task": {"context": {"a": 0.1}, "created_at": "2030-01-31T08:00:00.5"}, "task_name": "order"},
        "workflow_step": {"workflow_step_uuid": STEP, "attempts": 2, "checkpoint": {"cursor": 5}},
        "dependency_results": {"cart": {"success": true, "result": 42}},
        "step_definition": {"name": "charge", "timeout_seconds": 5, "batch_config": {"batch_size": 7}},
    }));

    let second = step(json!(first));

    assert_eq!(json!(first), json!(second));
    assert_eq!(second.task.created_at.to_rfc3339(), "2030-01-31T08:00:00.500+00:00");
    assert_eq!(second.step_definition.batch_config.unwrap().parallelism, 10);
}

#[test]
fn reading_a_field_of_another_type_is_an_error_that_names_it() {
    let step = step(json!({"task": {"context": {"total": "many"}}, "workflow_step": {}}));

    let error = step.get_input::<i64>("total").unwrap_err();

    assert!(format!("{error:#}").contains("'total'"), "{error:#}");
    assert_eq!(step.get_input_or("total", 7), 7);
    assert_eq!(step.get_context_field_names(), ["total"]);
}

#[test]
fn a_success_is_written_as_the_server_expects_it() {
    let step_uuid: Uuid = STEP.parse().unwrap();
    let written = json!(StepExecutionResult::success(step_uuid, json!({"total": 5}), 12, None));

    assert_eq!(written["step_uuid"], json!(STEP));
    assert_eq!(written["status"], json!("completed"));
    assert_eq!(written["error"], Value::Null);
    assert_eq!(written["metadata"]["execution_time_ms"], json!(12));
    assert_eq!(written["metadata"]["custom"], json!({}));
    assert!(StepExecutionResult::from(written).is_success());
}

#[test]
fn a_failure_says_in_both_places_whether_it_is_tried_again() {
    for retryable in [true, false] {
        let result =
            StepExecutionResult::failure(Uuid::nil(), "no".into(), Some("E1".into()), None, retryable, 0, None)
                .with_error_type("card_declined");
        let written = json!(result);

        assert_eq!(written["error"]["retryable"], json!(retryable));
        assert_eq!(written["metadata"]["retryable"], json!(retryable));
        assert_eq!(written["error"]["error_type"], json!("card_declined"));
        assert_eq!(written["metadata"]["error_code"], json!("E1"));
        assert_eq!(written["result"], json!({}));
        assert!(written["error"].get("status_code").is_none());
        assert_eq!(result.is_retryable(), retryable);
    }
}

#[test]
fn an_error_is_never_tried_again_and_has_a_status_of_its_own() {
    let trace = Some(vec!["main".to_owned()]);
    let result = StepExecutionResult::error(Uuid::nil(), "broken".into(), None, trace.clone(), 0, None);

    assert_eq!(result.status_enum(), StepResultStatus::Error);
    assert_eq!(result.error.as_ref().unwrap().backtrace, trace);
    assert!(!result.is_retryable());
}

#[test]
fn the_details_of_an_error_are_written_if_there_are_any() {
    let error = StepExecutionError::new("no", true)
        .with_error_type("rate_limited")
        .with_status_code(429)
        .with_context("url", json!("/order"));

    let expected = json!({
        "message": "no", "error_type": "rate_limited", "backtrace": null, "retryable": true,
        "status_code": 429, "context": {"url": "/order"},
    });
    assert_eq!(json!(error), expected);
}

#[test]
fn a_wish_for_a_delay_is_written_as_the_server_expects_it() {
    let hint = BackoffHint { backoff_type: BackoffHintType::RateLimit, delay_seconds: 30, context: None };
    let metadata = OrchestrationMetadata::new().with_header("Retry-After", "30").with_backoff_hint(hint);

    assert_eq!(metadata.header("retry-after"), Some("30"));
    let expected = json!({"backoff_type": "RateLimit", "delay_seconds": 30, "context": null});
    assert_eq!(json!(metadata)["backoff_hint"], expected);
}

#[test]
fn outcomes_are_found_in_the_results_that_hold_them() {
    let decision = DecisionPointOutcome::create_steps(vec!["ship".to_owned()]);
    let batches = BatchProcessingOutcome::create_batches("w".to_owned(), 0, Vec::new(), 0);
    let result = json!({"decision_point_outcome": decision.to_value(), "batch_processing_outcome": batches.to_value()});
    let result = StepExecutionResult::success(Uuid::nil(), result, 0, None);

    assert_eq!(DecisionPointOutcome::from_step_result(&result), Some(decision));
    assert_eq!(BatchProcessingOutcome::from_step_result(&result), Some(batches));
    assert_eq!(json!(DecisionPointOutcome::no_branches()), json!({"type": "no_branches"}));
    let other = StepExecutionResult::success(Uuid::nil(), json!({}), 0, None);
    assert_eq!(DecisionPointOutcome::from_step_result(&other), None);
}

#[test]
fn a_checkpoint_is_reported_instead_of_an_ending() {
    let lease: LeaseItem = serde_json::from_value(json!({
        "step_uuid": STEP, "lease_id": 17, "attempt": 1, "task_sequence_step": {"task": {}, "workflow_step": {}},
    }))
    .unwrap();
    let saved = StepExecutionResult::checkpoint(lease.step_uuid, json!(500), 500, Some(json!({"sum": 1})));

    let report = WireResult::new(&lease, saved.clone());

    assert_eq!(report.success(), None);
    let expected = json!({
        "step_uuid": STEP, "lease_id": 17,
        "checkpoint": {"cursor": 500, "items_processed": 500, "accumulated_results": {"sum": 1}},
    });
    assert_eq!(json!(report), expected);
    assert!(matches!(BatchWorkerResult::from(saved), BatchWorkerResult::CheckpointYield(_)));
}
