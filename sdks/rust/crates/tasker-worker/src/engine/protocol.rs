//! The messages of the worker protocol, as the worker sends and reads them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::Value;
use tasker_shared::messaging::StepExecutionResult;
use tasker_shared::wire::LeaseItem;
use uuid::Uuid;

use crate::engine::report::LeaseKey;
use crate::engine::results::Fetched;

/// Seconds that a claim waits for work; shorter than most proxies wait for an answer.
const CLAIM_SECONDS: f64 = 20.0;

/// What a worker says of itself.
#[derive(Clone, Debug, Serialize)]
pub struct Registration {
    pub callables: Vec<String>,
    pub name: String,
    pub namespaces: Option<Vec<String>>,
    pub concurrency: usize,
    pub sdk: &'static str,
    pub hostname: Option<String>,
    pub pid: u32,
    pub lazy_results: bool,
    /// The worker whose callables these replace; it keeps its leases.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker_id: Option<String>,
}

/// What a worker is told when it registers.
#[derive(Clone, Debug, Deserialize)]
pub struct Registered {
    pub worker_id: String,
    pub lease_seconds: f64,
    pub heartbeat_seconds: f64,
    pub max_wait_seconds: f64,
}

impl Registered {
    /// How long a lease lasts unless it is renewed.
    pub fn lease(&self) -> Duration {
        seconds(self.lease_seconds)
    }

    /// The time between heartbeats.
    pub fn heartbeat(&self) -> Duration {
        seconds(self.heartbeat_seconds)
    }

    /// How long a claim waits, in seconds.
    pub fn claim_wait(&self) -> f64 {
        CLAIM_SECONDS.min(self.max_wait_seconds)
    }

    /// How long a heartbeat waits, in seconds.
    pub fn heartbeat_wait(&self) -> f64 {
        self.heartbeat_seconds.min(self.max_wait_seconds)
    }
}

fn seconds(number: f64) -> Duration {
    Duration::try_from_secs_f64(number).unwrap_or_default()
}

/// A leased step; or a lease that this worker cannot read, so that it can say so.
#[derive(Debug)]
pub enum Leased {
    Step(Box<LeaseItem>),
    Unreadable { key: LeaseKey, reason: String },
}

impl Leased {
    /// The lease.
    pub fn key(&self) -> LeaseKey {
        match self {
            Leased::Step(lease) => LeaseKey::of(lease),
            Leased::Unreadable { key, .. } => *key,
        }
    }

    fn read(json: &RawValue) -> Result<Self, serde_json::Error> {
        match serde_json::from_str::<LeaseItem>(json.get()) {
            Ok(lease) => Ok(Leased::Step(Box::new(lease))),
            Err(error) => {
                let key = serde_json::from_str::<LeaseKey>(json.get())?;
                Ok(Leased::Unreadable { key, reason: error.to_string() })
            }
        }
    }
}

/// The answer to `lease` and `recover`.
#[derive(Deserialize)]
struct Leases {
    leases: Vec<Box<RawValue>>,
}

/// The answer to `results`.
#[derive(Deserialize)]
struct Results {
    results: HashMap<String, Box<RawValue>>,
}

/// What became of reported results.
#[derive(Debug, Default)]
pub struct ReportAnswer {
    pub refused: Vec<Refusal>,
    pub leases: Vec<Leased>,
    pub more_ready: bool,
}

#[derive(Deserialize)]
struct RawReportAnswer {
    #[serde(default)]
    refused: Vec<Refusal>,
    #[serde(default)]
    leases: Vec<Box<RawValue>>,
    #[serde(default)]
    more_ready: bool,
}

/// A result that was not recorded, and why.
#[derive(Clone, Debug, Deserialize)]
pub struct Refusal {
    pub reason: String,
    pub step_uuid: Option<Uuid>,
    pub lease_id: Option<i64>,
    pub detail: Option<String>,
}

impl Refusal {
    /// Whose result it was, if that could be read.
    pub fn key(&self) -> Option<LeaseKey> {
        Some(LeaseKey { step_uuid: self.step_uuid?, lease_id: self.lease_id? })
    }

    /// Whether the result itself was the reason, so that the lease still holds.
    pub fn is_about_content(&self) -> bool {
        matches!(self.reason.as_str(), "malformed" | "not_recordable")
    }

    /// The reason, for people.
    pub fn text(&self) -> String {
        self.detail.clone().unwrap_or_else(|| self.reason.clone())
    }
}

/// What became of renewed leases.
#[derive(Deserialize)]
pub struct HeartbeatAnswer {
    #[serde(default)]
    pub lost: Vec<LeaseKey>,
    #[serde(default)]
    pub cancelled: Vec<LeaseKey>,
}

/// Reads the answer to `lease` and `recover`.
pub fn read_leases(body: &[u8]) -> Result<Vec<Leased>, serde_json::Error> {
    read_all(&serde_json::from_slice::<Leases>(body)?.leases)
}

/// Reads the answer to `report`.
pub fn read_report_answer(body: &[u8]) -> Result<ReportAnswer, serde_json::Error> {
    let raw: RawReportAnswer = serde_json::from_slice(body)?;
    Ok(ReportAnswer { refused: raw.refused, leases: read_all(&raw.leases)?, more_ready: raw.more_ready })
}

/// Reads the answer to `results`: the result of a step, in the way that leases have it; none if there is none.
pub fn read_result(body: &[u8], step: &str) -> Result<Option<Fetched>, serde_json::Error> {
    let answer: Results = serde_json::from_slice(body)?;
    let Some(json) = answer.results.get(step) else {
        return Ok(None);
    };
    let value: Value = serde_json::from_str(json.get())?;
    if value.is_null() {
        return Ok(None);
    }
    let result = Arc::new(StepExecutionResult::from(value));
    Ok(Some(Fetched { result, bytes: json.get().len() }))
}

fn read_all(leases: &[Box<RawValue>]) -> Result<Vec<Leased>, serde_json::Error> {
    leases.iter().map(|lease| Leased::read(lease)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_that_cannot_be_read_is_known_by_its_key() {
        let body =
            format!(r#"{{"leases": [{{"step_uuid": "{}", "lease_id": 7, "task_sequence_step": 1}}]}}"#, Uuid::max());
        let leases = read_leases(body.as_bytes()).unwrap();
        assert!(matches!(&leases[..], [Leased::Unreadable { key, .. }] if key.lease_id == 7));
    }

    #[test]
    fn keys_that_are_not_known_are_ignored() {
        let body = br#"{"accepted": [], "refused": [{"step_uuid": null, "lease_id": null, "reason": "malformed", "detail": "no", "new": 1}], "later": {}}"#;
        let answer = read_report_answer(body).unwrap();
        assert!(answer.refused[0].is_about_content());
        assert_eq!(answer.refused[0].key(), None);
    }
}
