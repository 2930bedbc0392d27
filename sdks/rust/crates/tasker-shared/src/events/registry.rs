//! Who is interested in which events.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};

use thiserror::Error;

use crate::events::domain_events::DomainEvent;

/// A subscriber's error.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct EventHandlerError(pub String);

/// A subscriber: an async function of an event.
pub type EventHandler =
    Arc<dyn Fn(DomainEvent) -> Pin<Box<dyn Future<Output = Result<(), EventHandlerError>> + Send>> + Send + Sync>;

/// Hears of subscribers' errors: the event's name and the error.
type ErrorListener = Arc<dyn Fn(&str, &EventHandlerError) + Send + Sync>;

/// Subscribers by the pattern of event names that they are interested in.
///
/// A pattern is an event's name, `*` for every event, or a name with `*` for some of its segments: `order.*` stands
/// for `order.paid`, and neither for `order` nor for `order.item.added`.
#[derive(Default)]
pub struct EventRegistry {
    subscribers: RwLock<Vec<(String, EventHandler)>>,
    on_error: RwLock<Option<ErrorListener>>,
}

impl EventRegistry {
    /// A registry without subscribers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a subscriber; it hears of events that are published from now on.
    pub fn subscribe(&self, pattern: impl Into<String>, handler: EventHandler) {
        self.subscribers.write().unwrap_or_else(PoisonError::into_inner).push((pattern.into(), handler));
    }

    /// Removes all subscribers of a pattern; how many there were.
    pub fn unsubscribe(&self, pattern: &str) -> usize {
        let mut subscribers = self.subscribers.write().unwrap_or_else(PoisonError::into_inner);
        let before = subscribers.len();
        subscribers.retain(|(each, _)| each != pattern);
        before - subscribers.len()
    }

    /// The number of subscribers.
    pub fn subscriber_count(&self) -> usize {
        self.subscribers.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Sets what hears of subscribers' errors; without it they are dropped.
    pub fn on_error(&self, listener: impl Fn(&str, &EventHandlerError) + Send + Sync + 'static) {
        *self.on_error.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(listener));
    }

    /// Gives an event to every subscriber whose pattern matches, in the order in which they subscribed.
    pub async fn dispatch(&self, event: DomainEvent) {
        for handler in self.interested_in(&event.event_name) {
            if let Err(error) = handler(event.clone()).await {
                let listener = self.on_error.read().unwrap_or_else(PoisonError::into_inner).clone();
                if let Some(listener) = listener {
                    listener(&event.event_name, &error);
                }
            }
        }
    }

    fn interested_in(&self, event_name: &str) -> Vec<EventHandler> {
        let subscribers = self.subscribers.read().unwrap_or_else(PoisonError::into_inner);
        let matching = subscribers.iter().filter(|(pattern, _)| matches(pattern, event_name));
        matching.map(|(_, handler)| Arc::clone(handler)).collect()
    }
}

impl fmt::Debug for EventRegistry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("EventRegistry").field("subscribers", &self.subscriber_count()).finish()
    }
}

fn matches(pattern: &str, event_name: &str) -> bool {
    if pattern == "*" {
        return true;
    }
    let (wanted, given) = (pattern.split('.'), event_name.split('.'));
    wanted.clone().count() == given.clone().count()
        && wanted.zip(given).all(|(wanted, given)| wanted == "*" || wanted == given)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_star_stands_for_one_segment_or_alone_for_everything() {
        for (pattern, name, expected) in [
            ("*", "order.item.added", true),
            ("order.paid", "order.paid", true),
            ("order.*", "order.paid", true),
            ("*.paid", "order.paid", true),
            ("order.*", "order.item.added", false),
            ("order.*", "order", false),
            ("order.*", "refund.paid", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
