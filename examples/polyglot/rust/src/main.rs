//! How risky is the loan? A worker with one handler.

use std::time::Instant;

use anyhow::Result;
use async_trait::async_trait;
use serde_json::json;
use tasker_shared::messaging::StepExecutionResult;
use tasker_shared::types::TaskSequenceStep;
use tasker_worker_rust::step_handlers::StepHandlerConfig;
use tasker_worker_rust::{success_result, RegisterHandlers, RustStepHandler, Worker};

struct AssessRiskHandler;

#[async_trait]
impl RustStepHandler for AssessRiskHandler {
    fn new(_config: StepHandlerConfig) -> Self {
        Self
    }

    fn name(&self) -> &str {
        "assess_risk"
    }

    async fn call(&self, step_data: &TaskSequenceStep) -> Result<StepExecutionResult> {
        let start = Instant::now();
        let income: i64 = step_data.get_input("income_cents")?;
        let amount: i64 = step_data.get_dependency_field("check_application", &["amount_cents"])?;
        let months: i64 = step_data.get_dependency_field("check_application", &["months"])?;

        let burden = amount as f64 / months as f64 / income as f64;
        let grade = if burden < 0.2 {
            "A"
        } else if burden < 0.4 {
            "B"
        } else {
            "C"
        };

        Ok(success_result(
            step_data.workflow_step.workflow_step_uuid,
            json!({"grade": grade, "language": "Rust"}),
            start.elapsed().as_millis() as i64,
            None,
        ))
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    Worker::builder()
        .register::<AssessRiskHandler>()
        .build()?
        .run()
        .await?;
    Ok(())
}
