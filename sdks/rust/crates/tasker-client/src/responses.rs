//! What the server answers. Times are texts in RFC 3339. A key that an answer lacks takes its default, and one that is
//! not known here is left out, so a client works with older and newer servers.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// A task: what it was created with, its state, and how far it is.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct TaskResponse {
    /// The task's id.
    pub task_uuid: Uuid,
    /// The name.
    pub name: String,
    /// The template's namespace.
    pub namespace: String,
    /// The template's version.
    pub version: String,
    /// The state, such as `complete`.
    pub status: String,
    /// When it was created.
    pub created_at: String,
    /// When it changed last.
    pub updated_at: String,
    /// When it was done, if it is.
    pub completed_at: Option<String>,
    /// The task's input.
    pub context: Value,
    /// Who wanted it.
    pub initiator: Option<String>,
    /// The application that asked for it.
    pub source_system: Option<String>,
    /// Why it was asked for.
    pub reason: Option<String>,
    /// Higher ones first.
    pub priority: Option<i32>,
    /// Words to find it by.
    pub tags: Option<Vec<String>>,
    /// What it belongs to.
    pub correlation_id: Uuid,
    /// What caused it.
    pub parent_correlation_id: Option<Uuid>,
    /// Its steps.
    pub total_steps: u64,
    /// Steps that wait.
    pub pending_steps: u64,
    /// Steps that run.
    pub in_progress_steps: u64,
    /// Steps that are done.
    pub completed_steps: u64,
    /// Steps that failed.
    pub failed_steps: u64,
    /// Steps that are ready to run.
    pub ready_steps: u64,
    /// How it is going, in one word.
    pub execution_status: String,
    /// What somebody may do about it.
    pub recommended_action: Option<String>,
    /// From 0 to 100.
    pub completion_percentage: f64,
    /// Whether it needs somebody.
    pub health_status: String,
    /// The steps; empty in lists.
    pub steps: Vec<Value>,
}

impl TaskResponse {
    /// Whether the task goes on only if somebody acts on it: it is over, or blocked by failures.
    pub fn is_resting(&self) -> bool {
        matches!(self.status.as_str(), "complete" | "error" | "cancelled" | "resolved_manually" | "blocked_by_failures")
    }
}

/// A step of a task.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct StepResponse {
    /// The step's id.
    pub step_uuid: Uuid,
    /// The task's id.
    pub task_uuid: Uuid,
    /// The name.
    pub name: String,
    /// When it was created.
    pub created_at: String,
    /// When it changed last.
    pub updated_at: String,
    /// When it was done, if it is.
    pub completed_at: Option<String>,
    /// How the last attempt ended, if one has; what the handler returned is in `result`.
    pub results: Option<Value>,
    /// The state, such as `complete`.
    pub current_state: String,
    /// Whether all steps before it are done.
    pub dependencies_satisfied: bool,
    /// Whether it may be tried again.
    pub retry_eligible: bool,
    /// Whether a worker may take it.
    pub ready_for_execution: bool,
    /// The steps before it.
    pub total_parents: u64,
    /// Those of them that are done.
    pub completed_parents: u64,
    /// Attempts so far.
    pub attempts: u64,
    /// Most attempts.
    pub max_attempts: u64,
    /// When it failed last.
    pub last_failure_at: Option<String>,
    /// When it is tried again.
    pub next_retry_at: Option<String>,
    /// When the last attempt began.
    pub last_attempted_at: Option<String>,
}

/// The end of one attempt of a step, or what somebody did to it.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct StepAuditResponse {
    /// The entry's id.
    pub audit_uuid: String,
    /// The step's id.
    pub workflow_step_uuid: String,
    /// The id of the change of state.
    pub transition_uuid: String,
    /// The task's id.
    pub task_uuid: String,
    /// When it was recorded.
    pub recorded_at: String,
    /// The worker that ran it.
    pub worker_uuid: Option<String>,
    /// What it belongs to.
    pub correlation_id: Option<String>,
    /// Whether it succeeded.
    pub success: bool,
    /// How long the handler ran, in milliseconds.
    pub execution_time_ms: Option<i64>,
    /// What it resulted in.
    pub result: Option<Value>,
    /// The step's name.
    pub step_name: String,
    /// The state before.
    pub from_state: Option<String>,
    /// The state after.
    pub to_state: String,
}

/// Where a page is in the whole.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct PaginationInfo {
    /// The page, from 1.
    pub page: u64,
    /// Tasks of a page.
    pub per_page: u64,
    /// All that there are.
    pub total_count: u64,
    /// All pages.
    pub total_pages: u64,
    /// Whether there is a next page.
    pub has_next: bool,
    /// Whether there is a page before.
    pub has_previous: bool,
}

/// A page of tasks, newest first.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct TaskListResponse {
    /// The tasks of the page.
    pub tasks: Vec<TaskResponse>,
    /// Where the page is.
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
    /// All that there are.
    pub total_count: u64,
}

/// A registered template.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct TemplateDetail {
    /// The name.
    pub name: String,
    /// The template's namespace.
    pub namespace: String,
    /// The template's version.
    pub version: String,
    /// What it does.
    pub description: Option<String>,
    /// Each with `name`, `handler_callable`, `dependencies`, …
    pub steps: Vec<Value>,
}

/// What a step of a template calls.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(default)]
pub struct HandlerReference {
    /// The handler's name.
    pub callable: String,
    /// The method, if another than the usual one.
    pub method: Option<String>,
    /// The only resolver to ask.
    pub resolver: Option<String>,
}

/// A template that was registered just now, or before with the same content.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct TemplateRegistration {
    /// The template's namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// The template's version.
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
    /// The server's time.
    pub timestamp: String,
}

impl HealthResponse {
    /// Whether the server says that it is healthy.
    pub fn is_healthy(&self) -> bool {
        self.status == "healthy"
    }
}
