//! The calls to the server.

use std::time::Duration;

use reqwest::header::{HeaderMap, CONTENT_TYPE};
use serde::de::DeserializeOwned;
use serde_json::json;
use tasker_client::{ClientError, OrchestrationApiConfig, TemplateRegistration, SDK};

use crate::engine::call_error::CallError;
use crate::engine::protocol::{
    read_leases, read_report_answer, read_result, HeartbeatAnswer, Leased, Registered, Registration, ReportAnswer,
};
use crate::engine::report::{report_body, LeaseKey, Report};
use crate::engine::results::Fetched;

/// Time until a call counts as failed, beyond the time that it asks the server to wait.
const CALL_TIME: Duration = Duration::from_secs(15);

/// Time until a connection attempt counts as failed.
const CONNECT_TIME: Duration = Duration::from_secs(5);

/// Time for saying goodbye.
const DEREGISTER_TIME: Duration = Duration::from_secs(5);

/// Time after which an idle connection is not used again; servers keep them for 75 seconds.
const IDLE_TIME: Duration = Duration::from_secs(60);

/// A connection to a server.
#[derive(Clone)]
pub struct Server {
    url: String,
    http: reqwest::Client,
}

impl Server {
    /// Makes it; nothing is sent yet.
    pub fn new(config: &OrchestrationApiConfig) -> Result<Self, ClientError> {
        let headers: HeaderMap = config.headers()?;
        let url = config.checked_url()?;
        let http = reqwest::Client::builder()
            .user_agent(SDK)
            .default_headers(headers)
            .connect_timeout(CONNECT_TIME)
            .pool_idle_timeout(IDLE_TIME)
            .build()
            .map_err(|error| ClientError::of_connection(&url, &error))?;
        Ok(Self { url, http })
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Registers a template, given as the text of its file.
    pub async fn register_template(&self, yaml: String) -> Result<TemplateRegistration, ClientError> {
        let body = self.post("/v1/templates", "application/yaml", yaml, CALL_TIME).await?;
        serde_json::from_slice(&body).map_err(|error| self.unreadable(&error))
    }

    /// Registers the worker.
    pub async fn register(&self, registration: &Registration) -> Result<Registered, CallError> {
        let body = serde_json::to_string(registration).map_err(|error| CallError::Wrong(error.to_string()))?;
        self.read(self.post("/v1/worker/register", JSON, body, CALL_TIME).await)
    }

    /// Leases up to `limit` steps, waiting for `wait` seconds for any.
    pub async fn lease(&self, worker_id: &str, limit: usize, wait: f64) -> Result<Vec<Leased>, CallError> {
        let body = json!({"limit": limit, "wait_seconds": wait});
        self.decoded(self.call(worker_id, "lease", body.to_string(), wait).await, read_leases)
    }

    /// Reports results and leases up to `want` of the steps that they freed.
    pub async fn report(&self, worker_id: &str, reports: &[Report], want: usize) -> Result<ReportAnswer, CallError> {
        let body = report_body(reports, want);
        self.decoded(self.call(worker_id, "report", body, 0.0).await, read_report_answer)
    }

    /// Returns everything that is leased to the worker.
    pub async fn recover(&self, worker_id: &str) -> Result<Vec<Leased>, CallError> {
        self.decoded(self.call(worker_id, "recover", "{}".to_owned(), 0.0).await, read_leases)
    }

    /// Renews leases and waits for `wait` seconds for any to be lost; returns the lost ones.
    pub async fn heartbeat(&self, worker_id: &str, leases: &[LeaseKey], wait: f64) -> Result<Vec<LeaseKey>, CallError> {
        let body = json!({"leases": leases, "wait_seconds": wait});
        let answer: HeartbeatAnswer = self.read(self.call(worker_id, "heartbeat", body.to_string(), wait).await)?;
        Ok([answer.lost, answer.cancelled].concat())
    }

    /// A result that a lease omits; none if the step left none.
    pub async fn result(&self, worker_id: &str, lease: LeaseKey, step: &str) -> Result<Option<Fetched>, CallError> {
        let body = json!({"step_uuid": lease.step_uuid, "lease_id": lease.lease_id, "names": [step]});
        let answer = self.call(worker_id, "results", body.to_string(), 0.0).await;
        self.decoded(answer, |body| read_result(body, step))
    }

    /// Gives leases back unused.
    pub async fn release(&self, worker_id: &str, leases: &[LeaseKey]) -> Result<(), CallError> {
        let answer = self.call(worker_id, "release", json!({"leases": leases}).to_string(), 0.0).await;
        answer.map(drop).map_err(|error| CallError::of(&error))
    }

    /// Says goodbye; everything that is still held is given back.
    pub async fn deregister(&self, worker_id: &str) -> Result<(), ClientError> {
        let path = format!("/v1/worker/{worker_id}/deregister");
        self.post(&path, JSON, "{}".to_owned(), DEREGISTER_TIME).await.map(drop)
    }

    async fn call(&self, worker_id: &str, verb: &str, body: String, wait: f64) -> Result<Vec<u8>, ClientError> {
        let time = CALL_TIME + Duration::try_from_secs_f64(wait).unwrap_or_default();
        self.post(&format!("/v1/worker/{worker_id}/{verb}"), JSON, body, time).await
    }

    async fn post(&self, path: &str, kind: &str, body: String, time: Duration) -> Result<Vec<u8>, ClientError> {
        let no_answer = |error: reqwest::Error| ClientError::of_connection(&self.url, &error);
        let url = format!("{}{path}", self.url);
        let request = self.http.post(url).header(CONTENT_TYPE, kind).body(body).timeout(time);
        let response = request.send().await.map_err(no_answer)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.bytes().await.map_err(no_answer)?;
        if status.is_success() {
            return Ok(body.to_vec());
        }
        Err(ClientError::of_answer(status.as_u16(), &headers, &body))
    }

    fn read<T: DeserializeOwned>(&self, answer: Result<Vec<u8>, ClientError>) -> Result<T, CallError> {
        self.decoded(answer, |body| serde_json::from_slice(body))
    }

    fn decoded<T>(
        &self,
        answer: Result<Vec<u8>, ClientError>,
        read: impl Fn(&[u8]) -> Result<T, serde_json::Error>,
    ) -> Result<T, CallError> {
        let body = answer.map_err(|error| CallError::of(&error))?;
        read(&body).map_err(|error| CallError::of(&self.unreadable(&error)))
    }

    fn unreadable(&self, error: &serde_json::Error) -> ClientError {
        ClientError::unreadable(&self.url, error)
    }
}

const JSON: &str = "application/json";
