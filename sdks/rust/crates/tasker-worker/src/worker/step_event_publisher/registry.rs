//! Publishers by name.

use std::collections::HashMap;
use std::sync::Arc;

use tasker_shared::events::domain_events::DomainEventPublisher;
use tasker_shared::messaging::StepExecutionResult;
use tasker_shared::models::core::task_template::EventDeclaration;
use tasker_shared::types::TaskSequenceStep;

use super::{DefaultStepEventPublisher, PublishResult, StepEventContext, StepEventPublisher, StepEventPublisherError};

/// Publishers by name, and the one for events that name none.
#[derive(Debug, Clone)]
pub struct StepEventPublisherRegistry {
    publishers: HashMap<String, Arc<dyn StepEventPublisher>>,
    default: Arc<dyn StepEventPublisher>,
}

impl StepEventPublisherRegistry {
    /// A registry with a [`DefaultStepEventPublisher`] to `domain_publisher`.
    pub fn new(domain_publisher: Arc<DomainEventPublisher>) -> Self {
        Self::with_default(Arc::new(DefaultStepEventPublisher::new(domain_publisher)))
    }

    /// A registry with a default publisher of your own.
    pub fn with_default(publisher: Arc<dyn StepEventPublisher>) -> Self {
        Self { publishers: HashMap::new(), default: publisher }
    }

    /// Adds a publisher under its name; it replaces an earlier one.
    pub fn register(&mut self, publisher: Arc<dyn StepEventPublisher>) {
        self.publishers.insert(publisher.name().to_owned(), publisher);
    }

    /// The publisher of a name, the default one included.
    pub fn get(&self, name: &str) -> Option<&Arc<dyn StepEventPublisher>> {
        self.publishers.get(name).or_else(|| (self.default.name() == name).then_some(&self.default))
    }

    /// The publisher of a name; the default one for no name, or for one that is not there.
    pub fn get_or_default(&self, name: Option<&str>) -> &Arc<dyn StepEventPublisher> {
        name.and_then(|name| self.get(name)).unwrap_or(&self.default)
    }

    /// The publisher of a name.
    ///
    /// # Errors
    ///
    /// There is none.
    pub fn get_strict(&self, name: &str) -> Result<&Arc<dyn StepEventPublisher>, StepEventPublisherError> {
        self.get(name).ok_or_else(|| StepEventPublisherError::PublisherNotFound(name.to_owned()))
    }

    /// Whether there is a publisher of a name.
    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The names of the publishers that were added, sorted.
    pub fn registered_names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.publishers.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }

    /// The number of publishers that were added.
    pub fn len(&self) -> usize {
        self.publishers.len()
    }

    /// Whether none was added.
    pub fn is_empty(&self) -> bool {
        self.publishers.is_empty()
    }

    /// Removes a publisher; it, if it was there.
    pub fn unregister(&mut self, name: &str) -> Option<Arc<dyn StepEventPublisher>> {
        self.publishers.remove(name)
    }

    /// Removes all that were added.
    pub fn clear(&mut self) {
        self.publishers.clear();
    }

    /// Makes sure that all publishers of a list are there.
    ///
    /// # Errors
    ///
    /// Some are not; the error names them.
    pub fn validate_required_publishers(&self, names: &[&str]) -> Result<(), StepEventPublisherError> {
        let missing: Vec<String> =
            names.iter().filter(|name| !self.contains(name)).map(|name| (*name).to_owned()).collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(StepEventPublisherError::PublishersMissing(missing))
    }

    /// Lets each publisher that the step's events name publish what follows from it.
    pub async fn publish(&self, step: &TaskSequenceStep, result: &StepExecutionResult) -> PublishResult {
        let mut outcome = PublishResult::new();
        for (publisher, events) in self.by_publisher(&step.step_definition.publishes_events) {
            if publisher.should_handle(&step.workflow_step.name) {
                let mut context = StepEventContext::new(step.clone(), result.clone());
                context.task_sequence_step.step_definition.publishes_events = events;
                outcome.merge(publisher.publish(&context).await);
            }
        }
        outcome
    }

    /// The publishers of some events, each with its own, in the order in which they are declared.
    fn by_publisher(&self, events: &[EventDeclaration]) -> Vec<(&Arc<dyn StepEventPublisher>, Vec<EventDeclaration>)> {
        let mut groups: Vec<(&Arc<dyn StepEventPublisher>, Vec<EventDeclaration>)> = Vec::new();
        for event in events {
            let publisher = self.get_or_default(event.publisher.as_deref());
            match groups.iter_mut().find(|(each, _)| each.name() == publisher.name()) {
                Some((_, declared)) => declared.push(event.clone()),
                None => groups.push((publisher, vec![event.clone()])),
            }
        }
        groups
    }
}
