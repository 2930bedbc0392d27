//! Runs handlers for the steps of a Tasker server.
//!
//! [`Worker`] leases steps over the worker protocol, runs each as a `tokio` task and reports what came of it. Handlers
//! are [`StepHandler`](worker::handlers::StepHandler)s; most authors write them with the traits of
//! `tasker_worker_rust`, which also registers them with the builder.
//!
//! ```no_run
//! use std::process::ExitCode;
//! use tasker_worker::Worker;
//!
//! #[tokio::main]
//! async fn main() -> ExitCode {
//!     match Worker::builder().namespace("shop").max_concurrent(10).build() {
//!         Ok(worker) => worker.run_as_process().await,
//!         Err(error) => {
//!             eprintln!("error: {error}");
//!             ExitCode::from(error.exit_code())
//!         }
//!     }
//! }
//! ```

#![warn(missing_docs)]

pub mod batch_processing;
mod bootstrap;
mod builder;
mod engine;
mod error;
pub mod execution;
pub mod handler_capabilities;
mod health;
mod logging;
mod runner;
mod settings;
mod signals;
mod status;
mod templates;
pub mod worker;

pub use bootstrap::{WorkerBootstrap, WorkerBootstrapConfig};
pub use builder::WorkerBuilder;
pub use error::WorkerError;
pub use logging::{init_logging, LogFormat};
pub use runner::{Worker, WorkerSystemHandle};
pub use settings::WorkerSettings;
pub use status::{WorkerState, WorkerSystemStatus};
pub use tasker_client::Auth;
