//! What the server answers. Times are texts in RFC 3339. A key that an answer lacks takes its default, and one that is
//! not known here is left out, so a client works with older and newer servers.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// A task: what it was created with, its state, and how far it is.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct TaskResponse {
    pub task_uuid: Uuid,
    pub name: String,
    pub namespace: String,
    pub version: String,
    /// The state, such as `complete`.
    pub status: String,
    pub created_at: String,
    pub updated_at: String,
    pub completed_at: Option<String>,
    pub context: Value,
    pub initiator: Option<String>,
    pub source_system: Option<String>,
    pub reason: Option<String>,
    pub priority: Option<i32>,
    pub tags: Option<Vec<String>>,
    pub correlation_id: Uuid,
    pub parent_correlation_id: Option<Uuid>,
    pub total_steps: u64,
    pub pending_steps: u64,
    pub in_progress_steps: u64,
    pub completed_steps: u64,
    pub failed_steps: u64,
    pub ready_steps: u64,
    pub execution_status: String,
    pub recommended_action: Option<String>,
    /// From 0 to 100.
    pub completion_percentage: f64,
    pub health_status: String,
    /// The steps; empty in lists.
    pub steps: Vec<Value>,
}

impl TaskResponse {
    /// Whether the task goes on only if somebody acts on it: it is over, or blocked by failures.
    pub fn is_resting(&self) -> bool {
        matches!(
            self.status.as_str(),
            "complete" | "error" | "cancelled" | "resolved_manually" | "blocked_by_failures"
        )
    }
}

/// A step of a task.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct StepResponse {
    pub step_uuid: Uuid,
    pub task_uuid: Uuid,
    pub name: String,
    pub created_at: String,
    pub updated_at: String,
    pub completed_at: Option<String>,
    /// How the last attempt ended, if one has; what the handler returned is in `result`.
    pub results: Option<Value>,
    pub current_state: String,
    pub dependencies_satisfied: bool,
    pub retry_eligible: bool,
    pub ready_for_execution: bool,
    pub total_parents: u64,
    pub completed_parents: u64,
    pub attempts: u64,
    pub max_attempts: u64,
    pub last_failure_at: Option<String>,
    pub next_retry_at: Option<String>,
    pub last_attempted_at: Option<String>,
}

/// The end of one attempt of a step, or what somebody did to it.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct StepAuditResponse {
    pub audit_uuid: String,
    pub workflow_step_uuid: String,
    pub transition_uuid: String,
    pub task_uuid: String,
    pub recorded_at: String,
    pub worker_uuid: Option<String>,
    pub correlation_id: Option<String>,
    pub success: bool,
    pub execution_time_ms: Option<i64>,
    pub result: Option<Value>,
    pub step_name: String,
    pub from_state: Option<String>,
    pub to_state: String,
}

/// Where a page is in the whole.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct PaginationInfo {
    pub page: u64,
    pub per_page: u64,
    pub total_count: u64,
    pub total_pages: u64,
    pub has_next: bool,
    pub has_previous: bool,
}

/// A page of tasks, newest first.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct TaskListResponse {
    pub tasks: Vec<TaskResponse>,
    pub pagination: PaginationInfo,
}

/// The registered templates.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct TemplateListResponse {
    /// Each with `name` and `template_count`.
    pub namespaces: Vec<Value>,
    /// Each with `name`, `namespace`, `version`, `description` and `step_count`.
    pub templates: Vec<Value>,
    pub total_count: u64,
}

/// A registered template.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct TemplateDetail {
    pub name: String,
    pub namespace: String,
    pub version: String,
    pub description: Option<String>,
    /// Each with `name`, `handler_callable`, `dependencies`, …
    pub steps: Vec<Value>,
}

/// What a step of a template calls.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(default)]
pub struct HandlerReference {
    pub callable: String,
    pub method: Option<String>,
    pub resolver: Option<String>,
}

/// A template that was registered just now, or before with the same content.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct TemplateRegistration {
    pub namespace: String,
    pub name: String,
    pub version: String,
    /// `registered`, `unchanged` or `replaced`.
    pub outcome: String,
    /// What its steps call, each once.
    pub handlers: Vec<HandlerReference>,
    /// What might be better about it.
    pub warnings: Vec<String>,
}

/// Whether the server is up.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct HealthResponse {
    /// `healthy`.
    pub status: String,
    pub timestamp: String,
}

impl HealthResponse {
    /// Whether the server says that it is healthy.
    pub fn is_healthy(&self) -> bool {
        self.status == "healthy"
    }
}
