//! Handlers that decide what runs next: decisions and batches.

use std::fs;
use std::path::Path;
use std::process::{id, Command};
use std::thread;
use std::time::Duration;

use serde_json::{json, Value};
use tasker_worker::batch_processing::{BatchAggregationScenario, BatchWorkerContext};
use tasker_worker_rust::step_handlers::{BatchableCapable, DecisionCapable, RustStepHandlerRegistry};
use tasker_worker_rust::{StepExecutionResult, TaskSequenceStep};

use crate::handler;
use crate::plain::success;
use crate::waiting::append;

pub fn register(registry: &RustStepHandlerRegistry) {
    registry.register::<Decide>();
    registry.register::<Analyze>();
    registry.register::<Batch>();
    registry.register::<Aggregate>();
}

impl DecisionCapable for Decide {}

handler!(
    /// Goes left, right, both ways or none.
    Decide, "live_decide", |step| {
        let step_uuid = step.workflow_step.workflow_step_uuid;
        let route: String = step.get_input_or("route", String::new());
        let to = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Ok(match route.as_str() {
            "both" => Decide.decision_success(step_uuid, to(&["left", "right"]), Some(json!({"route": route})), 0),
            "left" => Decide.decision_success(step_uuid, to(&["left"]), None, 0),
            "none" => Decide.skip_branches(step_uuid, "nothing wanted", None, 0),
            _ => Decide.decision_failure(step_uuid, &format!("unknown route: {route}"), "decision_error", 0),
        })
    }
);

impl BatchableCapable for Analyze {}

handler!(
    /// Divides items into batches.
    Analyze, "live_analyze", |step| {
        let step_uuid = step.workflow_step.workflow_step_uuid;
        let total: u64 = step.get_input("total")?;
        let ranges = Analyze.create_cursor_ranges(total, step.get_input("batch_size")?, None);
        Ok(Analyze.batch_analyzer_success(step_uuid, "process_batch", ranges, total, 0))
    }
);

impl BatchableCapable for Batch {}

handler!(
    /// Notes each item of a batch and adds it up, with checkpoints.
    Batch, "live_batch", |step| {
        let step_uuid = step.workflow_step.workflow_step_uuid;
        let batch = BatchWorkerContext::from_step_data(step)?;
        let (start, end) = (batch.start_position(), batch.end_position());
        let log_file: String = step.get_input("log_file")?;
        let every: u64 = step.get_input_or("checkpoint_every", 0);
        let kept: Value = step.accumulated_results().unwrap_or_default();
        let mut sum = kept["sum"].as_u64().unwrap_or(0);
        for item in step.checkpoint_cursor().unwrap_or(start)..end {
            die_once(step, item);
            append(&log_file, &format!("{} {item}", batch.batch_id()))?;
            sum += item;
            let done = item + 1 - start;
            if every > 0 && done % every == 0 && item + 1 < end {
                return Ok(Batch.checkpoint_yield(step_uuid, json!(item + 1), done, Some(json!({"sum": sum}))));
            }
        }
        let size = end - start;
        let mut result = Batch.batch_worker_success(step_uuid, size, size, 0, 0, 0);
        result.result["results"] = json!([{"sum": sum}]);
        Ok(result)
    }
);

/// Ends this process as a crash would, if it is to be at this item and did not happen yet.
fn die_once(step: &TaskSequenceStep, item: u64) {
    let flag: String = step.get_input_or("kill_flag", String::new());
    if step.get_input::<u64>("kill_at").is_ok_and(|at| at == item) && !Path::new(&flag).exists() {
        let killed = fs::write(&flag, "").and_then(|()| Command::new("kill").args(["-9", &id().to_string()]).status());
        killed.expect("the flag can be written and the process killed");
        thread::sleep(Duration::from_secs(60)); // the signal is on its way
    }
}

handler!(
    /// Adds up what the batches did.
    Aggregate, "live_aggregate", |step| {
        let scenario = BatchAggregationScenario::detect(&step.dependency_results, "analyze", "process_batch_")?;
        let BatchAggregationScenario::WithBatches { batch_results, worker_count } = scenario else {
            return Ok(success(step, json!({"skipped": true, "total": 0})));
        };
        let add = |number: fn(&StepExecutionResult) -> &Value| -> u64 {
            batch_results.iter().filter_map(|(_, result)| number(result).as_u64()).sum()
        };
        Ok(success(step, json!({
            "total": add(|result| &result.result["items_processed"]),
            "worker_count": worker_count,
            "sum": add(|result| &result.result["results"][0]["sum"]),
        })))
    }
);
