//! Results that leases omit because of their size, kept for the next lease that wants them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tasker_shared::messaging::StepExecutionResult;
use uuid::Uuid;

/// Bytes of JSON that are kept in all; in memory they take ten times as much.
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// Time after which a result that no lease wanted is let go.
const UNUSED: Duration = Duration::from_secs(300);

/// Names a result. That of a step is another one once its task was re-run, and only then.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ResultKey {
    pub task_uuid: Uuid,
    pub reruns: i32,
    pub step: String,
}

/// A result that was fetched.
#[derive(Clone, Debug)]
pub struct Fetched {
    pub result: Arc<StepExecutionResult>,
    /// The size of its JSON.
    pub bytes: usize,
}

struct Kept {
    fetched: Fetched,
    used: Instant,
}

/// The results that are kept: those that were used last, and no more than a number of bytes.
#[derive(Default)]
pub struct KeptResults {
    kept: HashMap<ResultKey, Kept>,
}

impl KeptResults {
    /// A result, if it is kept.
    pub fn get(&mut self, key: &ResultKey, now: Instant) -> Option<Arc<StepExecutionResult>> {
        let kept = self.kept.get_mut(key)?;
        kept.used = now;
        Some(Arc::clone(&kept.fetched.result))
    }

    /// Keeps a result, and lets go of those that were not used for the longest time. One that is larger than all that
    /// may be kept is not.
    pub fn keep(&mut self, key: ResultKey, fetched: Fetched, now: Instant) {
        if fetched.bytes > MOST_BYTES {
            return;
        }
        self.kept.insert(key, Kept { fetched, used: now });
        while self.bytes() > MOST_BYTES {
            let oldest = self.kept.iter().min_by_key(|(_, kept)| kept.used).map(|(key, _)| key.clone());
            oldest.and_then(|key| self.kept.remove(&key));
        }
    }

    /// Lets go of what was not used for long.
    pub fn drop_unused(&mut self, now: Instant) {
        self.kept.retain(|_, kept| now.duration_since(kept.used) < UNUSED);
    }

    fn bytes(&self) -> usize {
        self.kept.values().map(|kept| kept.fetched.bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const MIB: usize = 1024 * 1024;

    fn key(step: &str) -> ResultKey {
        ResultKey { task_uuid: Uuid::nil(), reruns: 0, step: step.to_owned() }
    }

    fn fetched(bytes: usize) -> Fetched {
        Fetched { result: Arc::new(StepExecutionResult::from(json!({}))), bytes }
    }

    #[test]
    fn what_was_not_used_for_the_longest_time_goes_first() {
        let (mut results, begin) = (KeptResults::default(), Instant::now());
        let at = |seconds| begin + Duration::from_secs(seconds);
        results.keep(key("a"), fetched(7 * MIB), at(0));
        results.keep(key("b"), fetched(7 * MIB), at(1));
        assert!(results.get(&key("a"), at(2)).is_some());
        results.keep(key("c"), fetched(8 * MIB), at(3));
        let kept = ["a", "b", "c"].map(|step| results.get(&key(step), at(4)).is_some());
        assert_eq!(kept, [true, false, true]);
    }

    #[test]
    fn what_is_larger_than_the_bound_is_not_kept_and_takes_no_room() {
        let (mut results, now) = (KeptResults::default(), Instant::now());
        results.keep(key("small"), fetched(1), now);
        results.keep(key("large"), fetched(MOST_BYTES + 1), now);
        assert!(results.get(&key("large"), now).is_none());
        assert!(results.get(&key("small"), now).is_some());
        results.keep(key("just"), fetched(MOST_BYTES), now + UNUSED);
        assert!(results.get(&key("just"), now + UNUSED).is_some());
    }

    #[test]
    fn results_are_those_of_one_step_and_one_run_of_a_task() {
        let (mut results, now) = (KeptResults::default(), Instant::now());
        results.keep(key("a"), fetched(1), now);
        assert!(results.get(&ResultKey { task_uuid: Uuid::max(), ..key("a") }, now).is_none());
        assert!(results.get(&ResultKey { reruns: 1, ..key("a") }, now).is_none());
        assert!(results.get(&key("b"), now).is_none());
    }

    #[test]
    fn what_no_lease_wants_any_more_is_let_go() {
        let (mut results, begin) = (KeptResults::default(), Instant::now());
        results.keep(key("a"), fetched(1), begin);
        results.keep(key("b"), fetched(1), begin);
        assert!(results.get(&key("b"), begin + UNUSED / 2).is_some());
        results.drop_unused(begin + UNUSED);
        assert!(results.get(&key("a"), begin + UNUSED).is_none());
        assert!(results.get(&key("b"), begin + UNUSED).is_some());
    }
}
