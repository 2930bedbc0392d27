//! How long a call that failed is not made again. Pure: time and chance come from outside.

use std::time::{Duration, Instant};

/// Pause after the first failure; each further one doubles it.
const FIRST: Duration = Duration::from_millis(250);

/// Longest pause that the worker chooses by itself.
const LONGEST: Duration = Duration::from_secs(2);

/// The pause of one kind of call.
#[derive(Debug, Default)]
pub struct Pause {
    failures: u32,
    until: Option<Instant>,
}

impl Pause {
    /// Whether the call may be made.
    pub fn is_over(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| now >= until)
    }

    /// When the pause ends, if there is one.
    pub fn ends(&self) -> Option<Instant> {
        self.until
    }

    /// The call succeeded.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// The call failed: waits twice as long as the last time, a little at random (`chance` is from 0 to 1), and at
    /// least as long as the server asked for.
    pub fn extend(&mut self, now: Instant, asked: Option<Duration>, chance: f64) {
        let delay = (FIRST * 2u32.pow(self.failures.min(8))).min(LONGEST).mul_f64(0.8 + 0.4 * chance);
        self.failures += 1;
        self.until = Some(now + delay.max(asked.unwrap_or_default()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pauses(asked: Option<Duration>, failures: usize) -> Vec<Duration> {
        let now = Instant::now();
        let mut pause = Pause::default();
        let mut found = Vec::new();
        for _ in 0..failures {
            pause.extend(now, asked, 0.5);
            found.push(pause.ends().unwrap() - now);
        }
        found
    }

    #[test]
    fn pauses_double_up_to_two_seconds() {
        let milliseconds: Vec<u128> = pauses(None, 6).iter().map(Duration::as_millis).collect();
        assert_eq!(milliseconds, [250, 500, 1000, 2000, 2000, 2000]);
    }

    #[test]
    fn what_the_server_asks_for_is_the_least() {
        assert_eq!(pauses(Some(Duration::from_secs(7)), 1), [Duration::from_secs(7)]);
        assert_eq!(pauses(Some(Duration::ZERO), 1), [Duration::from_millis(250)]);
    }

    #[test]
    fn success_ends_the_pause_and_starts_over() {
        let now = Instant::now();
        let mut pause = Pause::default();
        pause.extend(now, None, 0.5);
        pause.extend(now, None, 0.5);
        assert!(!pause.is_over(now));
        pause.reset();
        assert!(pause.is_over(now));
        pause.extend(now, None, 0.5);
        assert_eq!(pause.ends(), Some(now + FIRST));
    }
}
