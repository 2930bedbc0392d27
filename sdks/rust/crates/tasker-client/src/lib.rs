//! Client of a Tasker server: creates tasks, waits for them, looks at them and acts on them.
//!
//! ```no_run
//! use std::time::Duration;
//! use tasker_client::{OrchestrationApiClient, OrchestrationApiConfig, TaskRequest};
//!
//! # async fn example() -> Result<(), tasker_client::ClientError> {
//! let client = OrchestrationApiClient::new(OrchestrationApiConfig::from_env()?)?;
//! let request = TaskRequest::new("pay_order").namespace("shop").version("1.0.0");
//! let task = client.create_task(request).await?;
//! let task = client.wait_for_task(task.task_uuid, Duration::from_secs(60)).await?;
//! println!("{}", task.status);
//! # Ok(())
//! # }
//! ```

#![warn(missing_docs)]

mod client;
mod config;
mod error;
mod requests;
mod responses;
mod retries;

pub use client::OrchestrationApiClient;
pub use config::{Auth, OrchestrationApiConfig, DEFAULT_API_KEY_HEADER, DEFAULT_URL};
pub use error::{retry_after_in, ClientError, ErrorDetail, ErrorKind};
pub use requests::{StepManualAction, TaskListQuery, TaskRequest};
pub use responses::{
    HandlerReference, HealthResponse, PaginationInfo, StepAuditResponse, StepResponse, TaskListResponse, TaskResponse,
    TemplateDetail, TemplateListResponse, TemplateRegistration,
};

/// How this crate and the worker name themselves to the server: `rust/` and the version.
pub const SDK: &str = concat!("rust/", env!("CARGO_PKG_VERSION"));
