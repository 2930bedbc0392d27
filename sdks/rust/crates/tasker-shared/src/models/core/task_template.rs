//! What a template says about one step.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::lenient::{null_as_default, without_nulls, without_nulls_or_default};

/// The method of a handler that runs if the template names none.
const DEFAULT_METHOD: &str = "call";

/// One step of a template.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StepDefinition {
    /// The step's name in the template.
    #[serde(default, deserialize_with = "null_as_default")]
    pub name: String,
    /// What it does, for people.
    #[serde(default)]
    pub description: Option<String>,
    /// What runs it.
    #[serde(default, deserialize_with = "null_as_default")]
    pub handler: HandlerDefinition,
    /// Its kind.
    #[serde(default, rename = "type", deserialize_with = "null_as_default")]
    pub step_type: StepType,
    /// The system that it calls, for people.
    #[serde(default)]
    pub system_dependency: Option<String>,
    /// The steps that come before it.
    #[serde(default, deserialize_with = "null_as_default")]
    pub dependencies: Vec<String>,
    /// When a failure is tried again.
    #[serde(default, deserialize_with = "without_nulls_or_default")]
    pub retry: RetryConfiguration,
    /// How long one attempt may take, in seconds; none leaves it to the worker.
    #[serde(default)]
    pub timeout_seconds: Option<u64>,
    /// The events that follow from its outcome.
    #[serde(default, deserialize_with = "null_as_default")]
    pub publishes_events: Vec<EventDeclaration>,
    /// How its batches are cut.
    #[serde(default, deserialize_with = "without_nulls")]
    pub batch_config: Option<BatchConfiguration>,
}

/// Which handler runs a step, and with what.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct HandlerDefinition {
    /// The name by which the handler is registered.
    #[serde(default, deserialize_with = "null_as_default")]
    pub callable: String,
    /// The method to run instead of `call`.
    #[serde(default)]
    pub method: Option<String>,
    /// The only resolver to ask.
    #[serde(default)]
    pub resolver: Option<String>,
    /// The handler's configuration.
    #[serde(default, deserialize_with = "null_as_default")]
    pub initialization: HashMap<String, Value>,
}

impl HandlerDefinition {
    /// Builds a definition.
    pub fn builder() -> HandlerDefinitionBuilder {
        HandlerDefinitionBuilder::default()
    }

    /// The method that runs the step; `call` by default.
    pub fn effective_method(&self) -> &str {
        self.method.as_deref().filter(|method| !method.is_empty()).unwrap_or(DEFAULT_METHOD)
    }

    /// Whether that is another method than `call`.
    pub fn uses_method_dispatch(&self) -> bool {
        self.effective_method() != DEFAULT_METHOD
    }

    /// Whether only one resolver is to be asked.
    pub fn has_resolver_hint(&self) -> bool {
        self.resolver.as_deref().is_some_and(|resolver| !resolver.is_empty())
    }
}

/// Builds a [`HandlerDefinition`].
#[derive(Debug, Clone, Default)]
pub struct HandlerDefinitionBuilder {
    definition: HandlerDefinition,
}

impl HandlerDefinitionBuilder {
    /// Sets the name by which the handler is registered.
    pub fn callable(mut self, callable: impl Into<String>) -> Self {
        self.definition.callable = callable.into();
        self
    }

    /// Sets the method to run instead of `call`.
    pub fn method(mut self, method: impl Into<String>) -> Self {
        self.definition.method = Some(method.into());
        self
    }

    /// Sets the only resolver to ask.
    pub fn resolver(mut self, resolver: impl Into<String>) -> Self {
        self.definition.resolver = Some(resolver.into());
        self
    }

    /// Sets the handler's configuration.
    pub fn initialization(mut self, initialization: HashMap<String, Value>) -> Self {
        self.definition.initialization = initialization;
        self
    }

    /// The definition.
    pub fn build(self) -> HandlerDefinition {
        self.definition
    }
}

/// The kinds of steps. A kind that is not known counts as standard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepType {
    /// Chooses the steps that follow.
    Decision,
    /// Waits for whatever steps a decision or an analyzer made.
    DeferredConvergence,
    /// Divides work into batches.
    Batchable,
    /// Does one batch.
    BatchWorker,
    /// An ordinary step.
    #[default]
    #[serde(other)]
    Standard,
}

/// When a failed step is tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RetryConfiguration {
    /// Whether at all; true by default.
    pub retryable: bool,
    /// Most attempts, the first included; 3 by default.
    pub max_attempts: u32,
    /// How the delay grows.
    pub backoff: BackoffStrategy,
    /// The delay before the second attempt, in milliseconds.
    pub backoff_base_ms: Option<u64>,
    /// The longest delay, in milliseconds.
    pub max_backoff_ms: Option<u64>,
}

impl Default for RetryConfiguration {
    fn default() -> Self {
        Self {
            retryable: true,
            max_attempts: 3,
            backoff: BackoffStrategy::default(),
            backoff_base_ms: Some(1_000),
            max_backoff_ms: Some(30_000),
        }
    }
}

/// How the delay between attempts grows. A word that is not known counts as exponential.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackoffStrategy {
    /// No delay.
    None,
    /// By the same amount each time.
    Linear,
    /// Each is the sum of the two before.
    Fibonacci,
    /// Twice as long each time.
    #[default]
    #[serde(other)]
    Exponential,
}

/// An event that follows from a step's outcome.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EventDeclaration {
    /// The event's name, such as `order.validated`.
    #[serde(default, deserialize_with = "null_as_default")]
    pub name: String,
    /// What it means, for people.
    #[serde(default)]
    pub description: Option<String>,
    /// The outcomes that it follows from.
    #[serde(default, deserialize_with = "null_as_default")]
    pub condition: PublicationCondition,
    /// The JSON Schema of its payload.
    #[serde(default)]
    pub schema: Option<Value>,
    /// Where it goes.
    #[serde(default, deserialize_with = "null_as_default")]
    pub delivery_mode: EventDeliveryMode,
    /// The publisher that makes it; none is the default publisher.
    #[serde(default)]
    pub publisher: Option<String>,
}

impl EventDeclaration {
    /// Whether the event follows from an outcome; `retryable` says whether a failure is tried again.
    pub fn should_publish(&self, success: bool, retryable: bool) -> bool {
        match self.condition {
            PublicationCondition::Success => success,
            PublicationCondition::Failure => !success,
            PublicationCondition::RetryableFailure => !success && retryable,
            PublicationCondition::PermanentFailure => !success && !retryable,
            PublicationCondition::Always => true,
        }
    }
}

/// The outcomes that an event follows from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PublicationCondition {
    /// Any failure.
    Failure,
    /// A failure that is tried again.
    RetryableFailure,
    /// A failure that is not.
    PermanentFailure,
    /// Every outcome.
    Always,
    /// A success.
    #[default]
    #[serde(other)]
    Success,
}

/// Where an event goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventDeliveryMode {
    /// To the subscribers in this process.
    Fast,
    /// To both.
    Broadcast,
    /// To where it is kept.
    #[default]
    #[serde(other)]
    Durable,
}

/// What a failed item of a batch means for the rest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureStrategy {
    /// The batch ends.
    FailFast,
    /// The item is set aside.
    Isolate,
    /// The others are done all the same.
    #[default]
    #[serde(other)]
    ContinueOnFailure,
}

/// How a batch worker's share of the work is cut.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BatchConfiguration {
    /// Items per batch; 1000 by default.
    pub batch_size: u32,
    /// Batches that may run at the same time; 10 by default.
    pub parallelism: u32,
    /// The field that orders the items; `id` by default.
    pub cursor_field: String,
    /// The `batch_worker` step to make workers from.
    pub worker_template: Option<String>,
    /// What a failed item means for the rest.
    pub failure_strategy: FailureStrategy,
}

impl Default for BatchConfiguration {
    fn default() -> Self {
        Self {
            batch_size: 1_000,
            parallelism: 10,
            cursor_field: "id".to_owned(),
            worker_template: None,
            failure_strategy: FailureStrategy::default(),
        }
    }
}
