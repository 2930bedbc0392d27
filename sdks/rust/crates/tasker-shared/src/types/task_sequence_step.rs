//! How handlers read their input.

use anyhow::{anyhow, Context, Result};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::types::base::TaskSequenceStep;

/// Attempts of a step whose template does not say how many.
const DEFAULT_MAX_ATTEMPTS: i32 = 3;

impl TaskSequenceStep {
    /// A field of the task's input.
    ///
    /// # Errors
    ///
    /// The task has no input, the field is absent, or it is not a `T`.
    pub fn get_input<T: DeserializeOwned>(&self, key: &str) -> Result<T> {
        read(self.get_context_field_raw(key)?).with_context(|| format!("the task's context field '{key}'"))
    }

    /// The same as [`get_input`](Self::get_input).
    ///
    /// # Errors
    ///
    /// As for `get_input`.
    pub fn get_context_field<T: DeserializeOwned>(&self, key: &str) -> Result<T> {
        self.get_input(key)
    }

    /// A field of the task's input as JSON.
    ///
    /// # Errors
    ///
    /// The task has no input, or the field is absent.
    pub fn get_context_field_raw(&self, key: &str) -> Result<&Value> {
        let context = self.task.context.as_ref().ok_or_else(|| anyhow!("the task has no context"))?;
        context.get(key).ok_or_else(|| anyhow!("the task's context has no field '{key}'"))
    }

    /// A field of the task's input, or `default` if it is absent, null, or not a `T`.
    pub fn get_input_or<T: DeserializeOwned>(&self, key: &str, default: T) -> T {
        match self.get_context_field_raw(key) {
            Ok(value) if !value.is_null() => read(value).unwrap_or(default),
            _ => default,
        }
    }

    /// A value of the handler's configuration, `handler.initialization` in the template.
    ///
    /// # Errors
    ///
    /// There is no such value, or it is not a `T`.
    pub fn get_config<T: DeserializeOwned>(&self, key: &str) -> Result<T> {
        let initialization = &self.step_definition.handler.initialization;
        let value = initialization.get(key).ok_or_else(|| anyhow!("the handler's configuration has no '{key}'"))?;
        read(value).with_context(|| format!("the handler's configuration '{key}'"))
    }

    /// The result of a step before this one.
    ///
    /// # Errors
    ///
    /// The step left no result, or it is not a `T`.
    pub fn get_dependency_result_column_value<T: DeserializeOwned>(&self, step_name: &str) -> Result<T> {
        read(self.dependency_value(step_name)?).with_context(|| format!("the result of step '{step_name}'"))
    }

    /// A field within the result of a step before this one; `path` goes down from object to object.
    ///
    /// # Errors
    ///
    /// The step left no result, the path leads nowhere, or its end is not a `T`.
    pub fn get_dependency_field<T: DeserializeOwned>(&self, step_name: &str, path: &[&str]) -> Result<T> {
        let mut value = self.dependency_value(step_name)?;
        for key in path {
            value = value
                .get(key)
                .ok_or_else(|| anyhow!("the result of step '{step_name}' has no '{}'", path.join(".")))?;
        }
        read(value).with_context(|| format!("'{}' of the result of step '{step_name}'", path.join(".")))
    }

    /// Whether the task's input has the field, even if it is null.
    pub fn has_context_field(&self, key: &str) -> bool {
        self.get_context_field_raw(key).is_ok()
    }

    /// Whether a step before this one left a result.
    pub fn has_dependency_result(&self, step_name: &str) -> bool {
        self.dependency_results.contains_key(step_name)
    }

    /// The names of the fields of the task's input, sorted.
    pub fn get_context_field_names(&self) -> Vec<String> {
        let fields = self.task.context.as_ref().and_then(Value::as_object);
        sorted(fields.into_iter().flat_map(|fields| fields.keys()))
    }

    /// The names of the steps before this one that left a result, sorted.
    pub fn get_dependency_step_names(&self) -> Vec<String> {
        sorted(self.dependency_results.keys())
    }

    /// Whether an attempt of this step failed before.
    pub fn is_retry(&self) -> bool {
        self.retry_count() > 0
    }

    /// Whether the step fails for good if this attempt does.
    pub fn is_last_retry(&self) -> bool {
        self.retry_count() >= self.max_retries() - 1
    }

    /// The attempts before this one; 0 in the first.
    pub fn retry_count(&self) -> i32 {
        self.workflow_step.attempts.unwrap_or(0)
    }

    /// Most attempts, the first included; 3 if the template does not say.
    pub fn max_retries(&self) -> i32 {
        self.workflow_step.max_attempts.unwrap_or(DEFAULT_MAX_ATTEMPTS)
    }

    /// What an earlier execution of this step saved: `cursor`, `items_processed`, `accumulated_results`.
    pub fn checkpoint(&self) -> Option<&Value> {
        self.workflow_step.checkpoint.as_ref().filter(|checkpoint| !checkpoint.is_null())
    }

    /// Where to go on; none without a checkpoint, or if the cursor is not a `T`.
    pub fn checkpoint_cursor<T: DeserializeOwned>(&self) -> Option<T> {
        read(self.saved("cursor")?).ok()
    }

    /// How many items were done when the checkpoint was saved; 0 without one.
    pub fn checkpoint_items_processed(&self) -> i64 {
        self.saved("items_processed").and_then(Value::as_i64).unwrap_or(0)
    }

    /// The partial results kept in the checkpoint; none without one, or if they are not a `T`.
    pub fn accumulated_results<T: DeserializeOwned>(&self) -> Option<T> {
        read(self.saved("accumulated_results")?).ok()
    }

    /// Whether there is a cursor to go on from; 0 is one, null is not.
    pub fn has_checkpoint(&self) -> bool {
        self.saved("cursor").is_some()
    }

    fn saved(&self, key: &str) -> Option<&Value> {
        self.checkpoint()?.get(key).filter(|value| !value.is_null())
    }

    fn dependency_value(&self, step_name: &str) -> Result<&Value> {
        let found = self.dependency_results.get(step_name);
        found.map(|found| &found.result).ok_or_else(|| anyhow!("step '{step_name}' left no result"))
    }
}

fn read<T: DeserializeOwned>(value: &Value) -> Result<T> {
    Ok(T::deserialize(value)?)
}

fn sorted<'a>(names: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut names: Vec<String> = names.cloned().collect();
    names.sort();
    names
}
