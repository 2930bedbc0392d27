//! The client.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::{Duration, Instant};

use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, Response};
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::config::OrchestrationApiConfig;
use crate::error::{ClientError, ErrorKind};
use crate::requests::{StepManualAction, TaskListQuery, TaskRequest};
use crate::responses::{
    HealthResponse, StepAuditResponse, StepResponse, TaskListResponse, TaskResponse, TemplateDetail,
    TemplateListResponse, TemplateRegistration,
};
use crate::retries::{self, Failure};
use crate::SDK;

/// Longest time that one request waits for a task, in seconds. Proxies often give up after 30.
const LONGEST_POLL_SECONDS: f64 = 20.0;

/// Time until a connection attempt counts as failed.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A client of a Tasker server. It keeps connections, so make one and keep it; clones share them.
///
/// Requests that failed for a passing reason are made again, up to `max_retries` times, if that can do no harm.
#[derive(Clone, Debug)]
pub struct OrchestrationApiClient {
    url: String,
    config: OrchestrationApiConfig,
    http: reqwest::Client,
}

/// A request as it is sent, possibly several times.
struct Request {
    method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    content_type: &'static str,
    body: Option<Vec<u8>>,
    /// Whether carrying it out twice does no harm.
    repeatable: bool,
    /// Seconds that the server is asked to wait.
    wait: f64,
}

impl Request {
    fn get(path: impl Into<String>) -> Self {
        Self {
            method: Method::GET,
            path: path.into(),
            query: Vec::new(),
            content_type: "application/json",
            body: None,
            repeatable: true,
            wait: 0.0,
        }
    }

    fn with_body(method: Method, path: impl Into<String>, body: Vec<u8>) -> Self {
        Self { method, body: Some(body), repeatable: false, ..Self::get(path) }
    }
}

impl OrchestrationApiClient {
    /// Makes a client; nothing is sent yet.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`] if the URL or the credential cannot be used.
    pub fn new(config: OrchestrationApiConfig) -> Result<Self, ClientError> {
        let http = reqwest::Client::builder()
            .user_agent(SDK)
            .default_headers(config.headers()?)
            .connect_timeout(CONNECT_TIMEOUT)
            .build()
            .map_err(|error| ClientError::without_answer(ErrorKind::Other, error.to_string()))?;
        Ok(Self { url: config.checked_url()?, config, http })
    }

    /// How the client connects.
    pub fn config(&self) -> &OrchestrationApiConfig {
        &self.config
    }

    /// Creates a task of a registered template.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] without such a template, [`ErrorKind::Conflict`] if the task exists already,
    /// [`ErrorKind::ValidationFailed`] if the context does not fit the template.
    pub async fn create_task(&self, request: TaskRequest) -> Result<TaskResponse, ClientError> {
        let keyed = request.idempotency_key.is_some();
        let first = Request::with_body(Method::POST, "/v1/tasks", encoded(&request)?);
        if !keyed {
            return self.ask(first).await;
        }
        // If only the answer was lost, the task exists, and the repeat must find it instead of being refused.
        let repeat = Request {
            repeatable: true,
            ..Request::with_body(Method::POST, "/v1/tasks", encoded(&request.return_existing(true))?)
        };
        self.ask_differently(first, repeat).await
    }

    /// Returns a task with the state of its steps.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is no such task, or not for this credential.
    pub async fn get_task(&self, task_uuid: Uuid) -> Result<TaskResponse, ClientError> {
        self.ask(Request::get(format!("/v1/tasks/{task_uuid}"))).await
    }

    /// Waits until a task is over or blocked by failures, and returns it. The server holds the request until then.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`] if the task is still under way after `timeout`.
    pub async fn wait_for_task(&self, task_uuid: Uuid, timeout: Duration) -> Result<TaskResponse, ClientError> {
        let started = Instant::now();
        loop {
            let left = timeout.saturating_sub(started.elapsed()).as_secs_f64();
            let wait = (left.min(LONGEST_POLL_SECONDS) * 1000.0).round() / 1000.0;
            let request = Request {
                query: vec![("wait", wait.to_string())],
                wait,
                ..Request::get(format!("/v1/tasks/{task_uuid}"))
            };
            let task: TaskResponse = self.ask(request).await?;
            if task.is_resting() {
                return Ok(task);
            }
            if started.elapsed() >= timeout {
                let message = format!("the task was still {} after {} s", task.status, timeout.as_secs_f64());
                return Err(ClientError::without_answer(ErrorKind::Timeout, message));
            }
        }
    }

    /// Returns a page of tasks, newest first.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`] for a filter or a page that cannot be.
    pub async fn list_tasks(&self, query: &TaskListQuery) -> Result<TaskListResponse, ClientError> {
        self.ask(Request { query: query.pairs(), ..Request::get("/v1/tasks") }).await
    }

    /// Cancels a task, and returns it.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`] if the task is over.
    pub async fn cancel_task(&self, task_uuid: Uuid) -> Result<TaskResponse, ClientError> {
        let request = Request::get(format!("/v1/tasks/{task_uuid}"));
        self.ask(Request { method: Method::DELETE, repeatable: false, ..request }).await
    }

    /// Returns all steps of a task, in the order of its template.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is no such task.
    pub async fn list_task_steps(&self, task_uuid: Uuid) -> Result<Vec<StepResponse>, ClientError> {
        self.ask(Request::get(format!("/v1/tasks/{task_uuid}/workflow_steps"))).await
    }

    /// Returns a step.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is no such step.
    pub async fn get_step(&self, task_uuid: Uuid, step_uuid: Uuid) -> Result<StepResponse, ClientError> {
        self.ask(Request::get(format!("/v1/tasks/{task_uuid}/workflow_steps/{step_uuid}"))).await
    }

    /// Returns every ended attempt of a step and everything that was done to it by hand, newest first.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is no such step.
    pub async fn get_step_audit_history(
        &self,
        task_uuid: Uuid,
        step_uuid: Uuid,
    ) -> Result<Vec<StepAuditResponse>, ClientError> {
        self.ask(Request::get(format!("/v1/tasks/{task_uuid}/workflow_steps/{step_uuid}/audit"))).await
    }

    /// Puts a failed step right by hand, and returns it.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] or [`ErrorKind::InvalidRequest`] if the step is in no state for this.
    pub async fn resolve_step_manually(
        &self,
        task_uuid: Uuid,
        step_uuid: Uuid,
        action: &StepManualAction,
    ) -> Result<StepResponse, ClientError> {
        let path = format!("/v1/tasks/{task_uuid}/workflow_steps/{step_uuid}");
        self.ask(Request::with_body(Method::PATCH, path, encoded(action)?)).await
    }

    /// Returns the registered templates, those of one namespace if one is given.
    ///
    /// # Errors
    /// Those of the connection and the credential.
    pub async fn list_templates(&self, namespace: Option<&str>) -> Result<TemplateListResponse, ClientError> {
        let query = namespace.map(|name| ("namespace", name.to_owned())).into_iter().collect();
        self.ask(Request { query, ..Request::get("/v1/templates") }).await
    }

    /// Returns a template; the version `latest` is the newest.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is no such template.
    pub async fn get_template(
        &self,
        namespace: &str,
        name: &str,
        version: &str,
    ) -> Result<TemplateDetail, ClientError> {
        let parts = [namespace, name, version].map(path_segment);
        self.ask(Request::get(format!("/v1/templates/{}", parts.join("/")))).await
    }

    /// Registers a template, given as the text of its YAML file. Doing so again changes nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] if this version is registered with other content, [`ErrorKind::ValidationFailed`] if
    /// the template is not valid; the details say what is wrong.
    pub async fn register_template(&self, yaml: &str) -> Result<TemplateRegistration, ClientError> {
        let request = Request::with_body(Method::POST, "/v1/templates", yaml.as_bytes().to_vec());
        self.ask(Request { content_type: "application/yaml", repeatable: true, ..request }).await
    }

    /// Asks the server whether it is up.
    ///
    /// # Errors
    /// [`ErrorKind::Connection`] if there is no answer.
    pub async fn health_check(&self) -> Result<HealthResponse, ClientError> {
        self.ask(Request::get("/health")).await
    }

    async fn ask<T: DeserializeOwned>(&self, request: Request) -> Result<T, ClientError> {
        let mut retries = 0;
        loop {
            match self.attempt(&request).await {
                Ok(answer) => return Ok(answer),
                Err((error, failure)) => {
                    let (repeatable, most) = (request.repeatable, self.config.max_retries);
                    match retries::pause(failure, repeatable, retries, most, chance()) {
                        Some(pause) => tokio::time::sleep(pause).await,
                        None => return Err(error),
                    }
                    retries += 1;
                }
            }
        }
    }

    /// Makes a request, and its repeats, if it needs any, as another one.
    async fn ask_differently<T: DeserializeOwned>(&self, first: Request, repeat: Request) -> Result<T, ClientError> {
        match self.attempt(&first).await {
            Ok(answer) => Ok(answer),
            Err((error, failure)) => match retries::pause(failure, true, 0, self.config.max_retries, chance()) {
                Some(pause) => {
                    tokio::time::sleep(pause).await;
                    self.ask(repeat).await
                }
                None => Err(error),
            },
        }
    }

    async fn attempt<T: DeserializeOwned>(&self, request: &Request) -> Result<T, (ClientError, Failure)> {
        let timeout = self.config.timeout() + Duration::from_secs_f64(request.wait);
        let mut sending = self
            .http
            .request(request.method.clone(), format!("{}{}", self.url, request.path))
            .query(&request.query)
            .timeout(timeout);
        if let Some(body) = &request.body {
            sending = sending.header(CONTENT_TYPE, request.content_type).body(body.clone());
        }
        let no_answer = |error: reqwest::Error| {
            let failure = Failure { unsent: error.is_connect(), ..Failure::default() };
            (ClientError::of_connection(&self.url, &error), failure)
        };
        let response: Response = sending.send().await.map_err(no_answer)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.bytes().await.map_err(no_answer)?;
        if !status.is_success() {
            let error = ClientError::of_answer(status.as_u16(), &headers, &body);
            let failure = Failure { unsent: false, status: error.status, retry_after: error.retry_after };
            return Err((error, failure));
        }
        serde_json::from_slice(&body).map_err(|error| {
            let failure = Failure { status: Some(status.as_u16()), ..Failure::default() };
            (ClientError::unreadable(&self.url, &error), failure)
        })
    }
}

fn encoded(body: &impl serde::Serialize) -> Result<Vec<u8>, ClientError> {
    serde_json::to_vec(body).map_err(|error| ClientError::invalid(format!("the request has no JSON form: {error}")))
}

/// A name as one segment of a path.
fn path_segment(text: &str) -> String {
    let mut segment = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            segment.push(char::from(byte));
        } else {
            segment.push_str(&format!("%{byte:02X}"));
        }
    }
    segment
}

/// A random number from 0 to 1; good enough to spread pauses.
fn chance() -> f64 {
    RandomState::new().build_hasher().finish() as f64 / u64::MAX as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_special_characters_stay_one_segment() {
        assert_eq!(path_segment("a/b c?"), "a%2Fb%20c%3F");
        assert_eq!(path_segment("pay_order-1.0"), "pay_order-1.0");
    }
}
