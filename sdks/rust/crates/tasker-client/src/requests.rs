//! What a client asks for.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value};
use uuid::Uuid;

/// A task to create. Its JSON form is the body of `POST /v1/tasks`.
#[derive(Clone, Debug, Serialize)]
pub struct TaskRequest {
    /// The template's name.
    pub name: String,
    /// The template's namespace; `default` by default.
    pub namespace: String,
    /// The template's version; `0.1.0` by default. `latest` is the newest.
    pub version: String,
    /// The task's input, a JSON object; empty by default.
    pub context: Value,
    /// Who wants the task; `system` by default.
    pub initiator: String,
    /// The application that asks for it; `tasker-core` by default.
    pub source_system: String,
    /// Why the task is created; `Task requested` by default.
    pub reason: String,
    /// Words to find the task by.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// From -100 to 100; higher ones first. The template's if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// When the task is to start; at once if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requested_at: Option<DateTime<Utc>>,
    /// Ties together what belongs together; a new one if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<Uuid>,
    /// The correlation id of what caused this task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_correlation_id: Option<Uuid>,
    /// Names the request: made twice, it is one task. Only with a key is a creation repeated after a lost answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// Whether a task that exists already is returned instead of an error; false by default.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub return_existing: bool,
}

impl TaskRequest {
    /// A task of the template with this name; everything else has its default.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            namespace: "default".to_owned(),
            version: "0.1.0".to_owned(),
            context: Value::Object(Map::new()),
            initiator: "system".to_owned(),
            source_system: "tasker-core".to_owned(),
            reason: "Task requested".to_owned(),
            tags: Vec::new(),
            priority: None,
            requested_at: None,
            correlation_id: None,
            parent_correlation_id: None,
            idempotency_key: None,
            return_existing: false,
        }
    }

    /// Sets the template's namespace.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// Sets the template's version.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = version.into();
        self
    }

    /// Sets the task's input, a JSON object.
    pub fn context(mut self, context: Value) -> Self {
        self.context = context;
        self
    }

    /// Sets who wants the task.
    pub fn initiator(mut self, initiator: impl Into<String>) -> Self {
        self.initiator = initiator.into();
        self
    }

    /// Sets the application that asks for the task.
    pub fn source_system(mut self, source_system: impl Into<String>) -> Self {
        self.source_system = source_system.into();
        self
    }

    /// Sets why the task is created.
    pub fn reason(mut self, reason: impl Into<String>) -> Self {
        self.reason = reason.into();
        self
    }

    /// Sets the words to find the task by.
    pub fn tags<T: Into<String>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
        self.tags = tags.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the priority, from -100 to 100.
    pub fn priority(mut self, priority: i32) -> Self {
        self.priority = Some(priority);
        self
    }

    /// Sets when the task is to start.
    pub fn requested_at(mut self, requested_at: DateTime<Utc>) -> Self {
        self.requested_at = Some(requested_at);
        self
    }

    /// Sets what the task belongs to.
    pub fn correlation_id(mut self, correlation_id: Uuid) -> Self {
        self.correlation_id = Some(correlation_id);
        self
    }

    /// Sets what caused the task.
    pub fn parent_correlation_id(mut self, correlation_id: Uuid) -> Self {
        self.parent_correlation_id = Some(correlation_id);
        self
    }

    /// Sets the name of the request.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }

    /// Sets whether a task that exists already is returned instead of an error.
    pub fn return_existing(mut self, return_existing: bool) -> Self {
        self.return_existing = return_existing;
        self
    }
}

/// Which tasks to list, and which page of them.
#[derive(Clone, Debug)]
pub struct TaskListQuery {
    /// The page, from 1; 1 by default.
    pub page: u32,
    /// Tasks of a page, up to 100; 25 by default.
    pub per_page: u32,
    /// Only tasks in this namespace.
    pub namespace: Option<String>,
    /// Only tasks in this state, such as `complete`.
    pub status: Option<String>,
    /// Only tasks of templates of this name.
    pub name: Option<String>,
    /// Only tasks of templates of this version.
    pub version: Option<String>,
    /// Only tasks with this tag.
    pub tag: Option<String>,
    /// Only tasks that somebody wanted.
    pub initiator: Option<String>,
    /// Only tasks that an application asked for.
    pub source_system: Option<String>,
    /// Only tasks that belong to something.
    pub correlation_id: Option<Uuid>,
}

impl Default for TaskListQuery {
    fn default() -> Self {
        Self {
            page: 1,
            per_page: 25,
            namespace: None,
            status: None,
            name: None,
            version: None,
            tag: None,
            initiator: None,
            source_system: None,
            correlation_id: None,
        }
    }
}

impl TaskListQuery {
    pub(crate) fn pairs(&self) -> Vec<(&'static str, String)> {
        let mut pairs = vec![("page", self.page.to_string()), ("per_page", self.per_page.to_string())];
        let filters = [
            ("namespace", &self.namespace),
            ("status", &self.status),
            ("name", &self.name),
            ("version", &self.version),
            ("tag", &self.tag),
            ("initiator", &self.initiator),
            ("source_system", &self.source_system),
        ];
        pairs.extend(filters.into_iter().filter_map(|(key, value)| Some((key, value.clone()?))));
        pairs.extend(self.correlation_id.map(|id| ("correlation_id", id.to_string())));
        pairs
    }
}

/// How a failed step is put right by hand.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "action_type", rename_all = "snake_case")]
pub enum StepManualAction {
    /// Lets the step start afresh, with all its attempts.
    ResetForRetry {
        /// Why.
        reason: String,
        /// Who says so.
        reset_by: String,
    },
    /// Takes the step for done, without a result.
    ResolveManually {
        /// Why.
        reason: String,
        /// Who says so.
        resolved_by: String,
    },
    /// Gives the step its result.
    CompleteManually {
        /// `{"result": …, "metadata": …?}`.
        completion_data: Value,
        /// Why.
        reason: String,
        /// Who says so.
        completed_by: String,
    },
}
