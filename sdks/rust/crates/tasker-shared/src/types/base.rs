//! A task, one of its steps, and everything that the step's handler may need.

use std::collections::HashMap;
use std::ops::Deref;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::lenient::{null_as_default, optional_timestamp, timestamp};
use crate::messaging::StepExecutionResult;
use crate::models::core::task_template::StepDefinition;

/// The input of a handler: the task, the step, the results of all steps before it, and the step's definition.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TaskSequenceStep {
    /// The task that the step belongs to. Its fields can be read directly: `step.task.context`.
    pub task: TaskForOrchestration,
    /// The step itself: attempts, inputs, checkpoint.
    pub workflow_step: WorkflowStepWithName,
    /// The results of the steps before this one, by step name; not only those of direct dependencies.
    #[serde(default, deserialize_with = "dependency_results")]
    pub dependency_results: HashMap<String, StepExecutionResult>,
    /// What the template says about the step.
    #[serde(default, deserialize_with = "null_as_default")]
    pub step_definition: StepDefinition,
}

/// A task with the names of its template.
#[derive(Debug, Clone, Default, Serialize)]
pub struct TaskForOrchestration {
    /// The task.
    pub task: Task,
    /// The template's name.
    pub task_name: String,
    /// The template's version.
    pub task_version: String,
    /// The template's namespace.
    pub namespace_name: String,
}

/// Lets `step.task.context` stand for `step.task.task.context`.
impl Deref for TaskForOrchestration {
    type Target = Task;

    fn deref(&self) -> &Task {
        &self.task
    }
}

/// A task's own facts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Task {
    /// The task's id.
    #[serde(default, deserialize_with = "null_as_default")]
    pub task_uuid: Uuid,
    /// The id of its template.
    #[serde(default, deserialize_with = "null_as_default")]
    pub named_task_uuid: Uuid,
    /// Whether the task is done; false while one of its steps runs.
    #[serde(default, deserialize_with = "null_as_default")]
    pub complete: bool,
    /// When the task was created.
    #[serde(default, deserialize_with = "timestamp")]
    pub requested_at: DateTime<Utc>,
    /// Who asked for the task.
    #[serde(default)]
    pub initiator: Option<String>,
    /// The system that asked for it.
    #[serde(default)]
    pub source_system: Option<String>,
    /// Why it was asked for.
    #[serde(default)]
    pub reason: Option<String>,
    /// Free labels.
    #[serde(default)]
    pub tags: Option<Value>,
    /// The task's input.
    #[serde(default)]
    pub context: Option<Value>,
    /// What makes the task a duplicate of another; empty if the server does not say.
    #[serde(default, deserialize_with = "null_as_default")]
    pub identity_hash: String,
    /// Higher runs first; 0 by default.
    #[serde(default, deserialize_with = "null_as_default")]
    pub priority: i32,
    /// When the task was created.
    #[serde(default, deserialize_with = "timestamp")]
    pub created_at: DateTime<Utc>,
    /// When the task changed last.
    #[serde(default, deserialize_with = "timestamp")]
    pub updated_at: DateTime<Utc>,
    /// Groups everything that follows from one request.
    #[serde(default, deserialize_with = "null_as_default")]
    pub correlation_id: Uuid,
    /// The correlation id of the task that this one follows from.
    #[serde(default)]
    pub parent_correlation_id: Option<Uuid>,
}

/// The facts of one step of a task.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WorkflowStepWithName {
    /// The step's id: the same in all attempts, so it serves as an idempotency key for calls to others.
    #[serde(default, deserialize_with = "null_as_default")]
    pub workflow_step_uuid: Uuid,
    /// The id of the step's task.
    #[serde(default, deserialize_with = "null_as_default")]
    pub task_uuid: Uuid,
    /// The id of the step in the template.
    #[serde(default, deserialize_with = "null_as_default")]
    pub named_step_uuid: Uuid,
    /// The step's name in the task: `process_batch_001`.
    #[serde(default, deserialize_with = "null_as_default")]
    pub name: String,
    /// The name of the step of the template that it was made from: `process_batch`.
    #[serde(default, deserialize_with = "null_as_default")]
    pub template_step_name: String,
    /// Whether a failure may be tried again; true by default.
    #[serde(default = "yes", deserialize_with = "null_as_yes")]
    pub retryable: bool,
    /// Most attempts, the first included.
    #[serde(default)]
    pub max_attempts: Option<i32>,
    /// Whether a worker is at it.
    #[serde(default, deserialize_with = "null_as_default")]
    pub in_process: bool,
    /// Whether it is done.
    #[serde(default, deserialize_with = "null_as_default")]
    pub processed: bool,
    /// When it was done.
    #[serde(default, deserialize_with = "optional_timestamp")]
    pub processed_at: Option<DateTime<Utc>>,
    /// The attempts before this one.
    #[serde(default)]
    pub attempts: Option<i32>,
    /// When the last attempt began.
    #[serde(default, deserialize_with = "optional_timestamp")]
    pub last_attempted_at: Option<DateTime<Utc>>,
    /// The delay in seconds that an earlier attempt asked for.
    #[serde(default)]
    pub backoff_request_seconds: Option<i32>,
    /// What was given to this step alone: the cursor of a batch worker.
    #[serde(default)]
    pub inputs: Option<Value>,
    /// The step's result; absent while it runs.
    #[serde(default)]
    pub results: Option<Value>,
    /// Where an earlier execution of this step said it could go on.
    #[serde(default)]
    pub checkpoint: Option<Value>,
    /// When the step was created.
    #[serde(default, deserialize_with = "timestamp")]
    pub created_at: DateTime<Utc>,
    /// When the step changed last.
    #[serde(default, deserialize_with = "timestamp")]
    pub updated_at: DateTime<Utc>,
}

// What an empty object reads as, so that the defaults are written down once.
macro_rules! default_is_empty_object {
    ($($model:ty),+) => {$(
        impl Default for $model {
            fn default() -> Self {
                serde_json::from_str("{}").expect("every field has a default")
            }
        }
    )+};
}

default_is_empty_object!(Task, WorkflowStepWithName);

/// Reads a task both nested (`{"task": {..}, "task_name": ..}`) and flat (everything in one object).
impl<'de> Deserialize<'de> for TaskForOrchestration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Names {
            #[serde(default, deserialize_with = "null_as_default")]
            task_name: String,
            #[serde(default, deserialize_with = "null_as_default")]
            task_version: String,
            #[serde(default, deserialize_with = "null_as_default")]
            namespace_name: String,
        }

        let mut all = Value::deserialize(deserializer)?;
        let nested = all.get_mut("task").filter(|task| task.is_object()).map(Value::take);
        let names = Names::deserialize(&all).map_err(serde::de::Error::custom)?;
        let task = serde_json::from_value(nested.unwrap_or(all)).map_err(serde::de::Error::custom)?;
        Ok(Self {
            task,
            task_name: names.task_name,
            task_version: names.task_version,
            namespace_name: names.namespace_name,
        })
    }
}

/// Reads results by step name. A null is left out; a bare value counts as the result of a success.
fn dependency_results<'de, D>(deserializer: D) -> Result<HashMap<String, StepExecutionResult>, D::Error>
where
    D: Deserializer<'de>,
{
    let values = Option::<HashMap<String, Value>>::deserialize(deserializer)?.unwrap_or_default();
    Ok(values
        .into_iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| (name, StepExecutionResult::from(value)))
        .collect())
}

fn yes() -> bool {
    true
}

fn null_as_yes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(Option::<bool>::deserialize(deserializer)?.unwrap_or(true))
}
