//! The events that a template declares for a step reach the subscribers in the worker's process.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use serde_json::json;
use tasker_shared::events::domain_events::{DomainEvent, DomainEventPublisher};
use tasker_shared::events::{EventHandler, EventHandlerError, EventRegistry};
use tasker_shared::messaging::StepExecutionResult;
use tasker_shared::models::core::task_template::EventDeclaration;
use tasker_shared::types::TaskSequenceStep;
use tasker_worker::worker::handlers::PostHandlerCallback;
use tasker_worker_rust::step_handlers::{
    DefaultStepEventPublisher, DomainEventCallback, PublishResult, StepEventContext, StepEventPublisher,
    StepEventPublisherError, StepEventPublisherRegistry, StepHandlerConfig,
};
use tasker_worker_rust::testing::StepBuilder;
use tasker_worker_rust::{RustStepHandler, RustStepHandlerRegistry};

type Heard = Arc<Mutex<Vec<DomainEvent>>>;

/// Publishes events with a payload of its own.
#[derive(Debug)]
struct Receipts(Arc<DomainEventPublisher>);

#[async_trait]
impl StepEventPublisher for Receipts {
    fn name(&self) -> &str {
        "receipts"
    }

    fn domain_publisher(&self) -> &Arc<DomainEventPublisher> {
        &self.0
    }

    async fn publish(&self, context: &StepEventContext) -> PublishResult {
        let mut outcome = PublishResult::new();
        for event in context.declared_events() {
            match self.publish_event(context, &event.name, json!({"receipt": 1})).await {
                Ok(id) => outcome.published.push(id),
                Err(error) => outcome.errors.push(error.to_string()),
            }
        }
        outcome
    }
}

fn listening(events: &EventRegistry, pattern: &str) -> Heard {
    let heard = Heard::default();
    let all = Arc::clone(&heard);
    let handler: EventHandler = Arc::new(move |event| {
        all.lock().unwrap().push(event);
        Box::pin(async { Ok(()) })
    });
    events.subscribe(pattern, handler);
    heard
}

fn names(heard: &Heard) -> Vec<String> {
    heard.lock().unwrap().iter().map(|event| event.event_name.clone()).collect()
}

fn step(declared: serde_json::Value) -> TaskSequenceStep {
    let mut step = StepBuilder::new().name("charge").build();
    step.step_definition.publishes_events =
        serde_json::from_value::<Vec<EventDeclaration>>(declared).expect("the declarations are valid");
    step
}

fn success(step: &TaskSequenceStep) -> StepExecutionResult {
    StepExecutionResult::success(step.workflow_step.workflow_step_uuid, json!({"total": 5}), 0, None)
}

#[tokio::test]
async fn an_event_says_what_happened_where() {
    let events = Arc::new(EventRegistry::new());
    let heard = listening(&events, "order.*");
    let publishers = StepEventPublisherRegistry::new(Arc::new(DomainEventPublisher::new(events)));
    let step = step(json!([
        {"name": "order.charged"}, {"name": "order.refused", "condition": "failure"}, {"name": "mail.wanted"},
    ]));

    DomainEventCallback::new(publishers).on_handler_complete(&step, &success(&step), "worker").await;

    assert_eq!(names(&heard), ["order.charged"]);
    let event = heard.lock().unwrap()[0].clone();
    assert_eq!(event.payload.payload, json!({"total": 5}));
    assert_eq!(event.metadata.task_uuid, step.task.task_uuid);
    assert_eq!(event.metadata.step_name.as_deref(), Some("charge"));
    assert_eq!(event.metadata.fired_by, "default");
}

#[tokio::test]
async fn a_publisher_gets_the_events_that_name_it() {
    let events = Arc::new(EventRegistry::new());
    let heard = listening(&events, "*");
    let publisher = Arc::new(DomainEventPublisher::new(events));
    let mut publishers = StepEventPublisherRegistry::new(Arc::clone(&publisher));
    publishers.register(Arc::new(Receipts(publisher)));
    let step = step(json!([{"name": "order.charged"}, {"name": "receipt.printed", "publisher": "receipts"}]));

    let outcome = publishers.publish(&step, &success(&step)).await;

    assert!(outcome.all_succeeded());
    assert_eq!(names(&heard), ["order.charged", "receipt.printed"]);
    assert_eq!(heard.lock().unwrap()[1].payload.payload, json!({"receipt": 1}));
}

#[tokio::test]
async fn a_checkpoint_publishes_nothing() {
    let events = Arc::new(EventRegistry::new());
    let heard = listening(&events, "*");
    let publishers = StepEventPublisherRegistry::new(Arc::new(DomainEventPublisher::new(events)));
    let step = step(json!([{"name": "order.charged", "condition": "always"}]));
    let saved = StepExecutionResult::checkpoint(step.workflow_step.workflow_step_uuid, json!(1), 1, None);

    DomainEventCallback::new(publishers).on_handler_complete(&step, &saved, "worker").await;

    assert_eq!(names(&heard), Vec::<String>::new());
}

#[tokio::test]
async fn an_event_that_is_not_declared_is_refused() {
    let publisher = Receipts(Arc::default());
    let step = step(json!([]));
    let context = StepEventContext::new(step.clone(), success(&step));

    let refused = publisher.publish_event(&context, "order.charged", json!({})).await;

    assert!(matches!(refused, Err(StepEventPublisherError::EventNotDeclared { .. })));
}

#[tokio::test]
async fn the_error_of_a_subscriber_keeps_no_other_from_the_event() {
    let events = Arc::new(EventRegistry::new());
    let errors = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&errors);
    events.on_error(move |event, error| seen.lock().unwrap().push(format!("{event}: {error}")));
    let failing: EventHandler = Arc::new(|_| Box::pin(async { Err(EventHandlerError("no".to_owned())) }));
    events.subscribe("*", failing);
    let heard = listening(&events, "*");
    let publishers = StepEventPublisherRegistry::new(Arc::new(DomainEventPublisher::new(events)));
    let step = step(json!([{"name": "order.charged"}]));

    publishers.publish(&step, &success(&step)).await;

    assert_eq!(names(&heard), ["order.charged"]);
    assert_eq!(*errors.lock().unwrap(), ["order.charged: no"]);
}

#[test]
fn missing_publishers_are_named() {
    let mut publishers = StepEventPublisherRegistry::new(Arc::default());
    publishers.register(Arc::new(Receipts(Arc::default())));

    assert!(publishers.validate_required_publishers(&["receipts", "default"]).is_ok());
    let error = publishers.validate_required_publishers(&["receipts", "mails"]).unwrap_err();
    assert_eq!(error, StepEventPublisherError::PublishersMissing(vec!["mails".to_owned()]));
    assert_eq!(publishers.registered_names(), ["receipts"]);
    assert!(publishers.unregister("receipts").is_some() && publishers.is_empty());
}

#[tokio::test]
async fn a_handler_is_made_with_the_publisher_of_its_registry() {
    let registry = RustStepHandlerRegistry::new();
    let heard = listening(registry.event_publisher().registry(), "*");
    registry.register::<Shout>();
    let step = step(json!([]));

    registry.get_handler("shout").unwrap().call(&step).await.unwrap();

    assert_eq!(names(&heard), ["shout.heard"]);
}

/// Publishes an event by itself.
struct Shout(StepHandlerConfig);

#[async_trait]
impl RustStepHandler for Shout {
    fn new(config: StepHandlerConfig) -> Self {
        Self(config)
    }

    fn name(&self) -> &str {
        "shout"
    }

    async fn call(&self, step_data: &TaskSequenceStep) -> anyhow::Result<StepExecutionResult> {
        let result = success(step_data);
        let publisher = Arc::clone(self.0.event_publisher.as_ref().expect("the registry has one"));
        let made = DefaultStepEventPublisher::new(Arc::clone(&publisher));
        let context = StepEventContext::new(step_data.clone(), result.clone());
        let payload = made.build_domain_payload(&context, json!({}));
        publisher.publish_event("shout.heard", payload, made.build_metadata(&context)).await;
        Ok(result)
    }
}
