//! The Rust worker of the live pack: it registers the handlers that every language has, and takes all its settings
//! from the environment.

mod flow;
mod plain;
mod waiting;

use std::process::ExitCode;
use std::sync::Arc;

use tasker_worker::Worker;
use tasker_worker_rust::step_handlers::{RustStepHandlerRegistry, RustStepHandlerRegistryAdapter};

/// Declares a handler: its type, its name, and the body of its `call`.
#[macro_export]
macro_rules! handler {
    ($(#[$about:meta])* $type:ident, $name:literal, |$step:ident| $body:block) => {
        $(#[$about])*
        pub struct $type;

        #[async_trait::async_trait]
        impl tasker_worker_rust::RustStepHandler for $type {
            fn new(_config: tasker_worker_rust::step_handlers::StepHandlerConfig) -> Self {
                Self
            }

            fn name(&self) -> &str {
                $name
            }

            async fn call(
                &self,
                $step: &tasker_worker_rust::TaskSequenceStep,
            ) -> anyhow::Result<tasker_worker_rust::StepExecutionResult> $body
        }
    };
}

#[tokio::main]
async fn main() -> ExitCode {
    let registry = RustStepHandlerRegistry::new();
    plain::register(&registry);
    flow::register(&registry);
    waiting::register(&registry);
    let adapter = RustStepHandlerRegistryAdapter::new(registry);
    match Worker::builder().registry(Arc::new(adapter)).build() {
        Ok(worker) => worker.run_as_process().await,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
