//! The snippet of the chapter "Class-Based Handlers" compiles and runs exactly as it is written there: as a whole
//! program (`examples/class_based_chapter.rs`) and as a module of one.

#[allow(dead_code)]
#[rustfmt::skip]
#[path = "chapter/process_order.rs"]
mod process_order;

use std::path::Path;

use process_order::ProcessOrderHandler;
use serde_json::json;
use tasker_worker_rust::step_handlers::StepHandlerConfig;
use tasker_worker_rust::testing::StepBuilder;
use tasker_worker_rust::{error_result, success_result, RustStepHandler, StepExecutionResult, TaskSequenceStep};

const PROGRAM: &str = include_str!("../examples/class_based_chapter.rs");
const MODULE: &str = include_str!("chapter/process_order.rs");

#[test]
fn both_forms_are_those_of_the_chapter() {
    let chapter = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../../tests/seed/class-based-handlers.txt");
    let chapter = std::fs::read_to_string(&chapter).expect("the chapter is in the repository");

    assert!(chapter.contains(PROGRAM), "the program differs from the chapter");
    let module = PROGRAM.strip_prefix("#![allow(unused)]\nfn main() {\n").and_then(|rest| rest.strip_suffix("}\n"));
    assert_eq!(module, Some(MODULE));
}

#[tokio::test]
async fn the_handler_of_the_chapter_processes_an_order() {
    let step = StepBuilder::new().context(json!({"order_id": "ORD-1"})).build();
    let handler = ProcessOrderHandler::new(StepHandlerConfig::empty());

    let result = handler.call(&step).await.expect("the handler succeeds");

    assert_eq!(handler.name(), "process_order");
    assert!(result.success);
    assert_eq!(result.status, "completed");
    assert_eq!(result.result, json!({"processed": true, "handler": "process_order"}));
    assert_eq!(result.step_uuid, step.workflow_step.workflow_step_uuid);
    assert!(result.metadata.execution_time_ms >= 0);
}

#[test]
fn the_access_patterns_of_the_chapter_work() {
    fn outcome(step_data: &TaskSequenceStep, succeed: bool) -> anyhow::Result<StepExecutionResult> {
        let _dep_results = &step_data.dependency_results;
        let step_uuid = step_data.workflow_step.workflow_step_uuid;
        let input = json!(&step_data.task.context);
        if succeed {
            return Ok(success_result(step_uuid, input, 0, None));
        }
        Ok(error_result(step_uuid, "no".to_string(), None, None, false, 0, None))
    }
    let step = StepBuilder::new().context(json!({"order_id": "ORD-1"})).dependency("cart", json!(42)).build();

    assert_eq!(outcome(&step, true).unwrap().result, json!({"order_id": "ORD-1"}));
    assert_eq!(outcome(&step, false).unwrap().status, "failed");
    assert_eq!(step.dependency_results["cart"].result, json!(42));
    assert_eq!(step.task.context, step.task.task.context);
}
