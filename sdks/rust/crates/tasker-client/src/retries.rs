//! Whether and when a request is made again. Pure: time and chance come from outside.

use std::time::Duration;

/// Longest pause before the first repeat; it doubles with each further one.
const FIRST_PAUSE: f64 = 0.2;

/// Longest pause that the client chooses by itself, in seconds.
const LONGEST_PAUSE: f64 = 5.0;

/// Longest `Retry-After` that is waited for, in seconds. A server that asks for more gets no repeat.
const LONGEST_RETRY_AFTER: f64 = 30.0;

/// How an attempt failed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Failure {
    /// There was no connection, so the server cannot have seen the request.
    pub unsent: bool,
    /// What was answered; `None` if nothing was.
    pub status: Option<u16>,
    /// Seconds that the server asks to wait.
    pub retry_after: Option<f64>,
}

/// The pause before the next attempt; `None` if there should be none.
///
/// A request that must not be carried out twice (not `repeatable`) is repeated only if it cannot have reached the
/// server. `chance` is a random number from 0 to 1, which spreads the pauses of many clients.
pub fn pause(failure: Failure, repeatable: bool, retries: u32, max_retries: u32, chance: f64) -> Option<Duration> {
    let may_help = failure.status.is_none_or(|status| matches!(status, 408 | 429 | 502 | 503 | 504));
    if !may_help || retries >= max_retries || !(repeatable || failure.unsent) {
        return None;
    }
    let asked = failure.retry_after.unwrap_or(0.0);
    if asked > LONGEST_RETRY_AFTER {
        return None;
    }
    let longest = (FIRST_PAUSE * 2f64.powi(retries.min(16) as i32)).min(LONGEST_PAUSE);
    Some(Duration::from_secs_f64(asked + longest * chance))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16) -> Failure {
        Failure { status: Some(status), ..Failure::default() }
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        assert!(pause(answered(503), true, 0, 3, 0.5).is_some());
        assert!(pause(answered(500), true, 0, 3, 0.5).is_none());
        assert!(pause(answered(404), true, 0, 3, 0.5).is_none());
        assert!(pause(answered(503), true, 3, 3, 0.5).is_none());
    }

    #[test]
    fn what_must_not_happen_twice_is_repeated_only_if_it_was_not_sent() {
        assert!(pause(Failure::default(), false, 0, 3, 0.5).is_none());
        assert!(pause(Failure { unsent: true, ..Failure::default() }, false, 0, 3, 0.5).is_some());
    }

    #[test]
    fn pauses_double_and_add_to_what_the_server_asks_for() {
        let seconds = |retries, retry_after| {
            let failure = Failure { retry_after, ..answered(503) };
            pause(failure, true, retries, 9, 1.0).map(|pause| pause.as_secs_f64())
        };
        assert_eq!(seconds(0, None), Some(0.2));
        assert_eq!(seconds(2, None), Some(0.8));
        assert_eq!(seconds(8, None), Some(5.0));
        assert_eq!(seconds(0, Some(2.0)), Some(2.2));
        assert_eq!(seconds(0, Some(31.0)), None);
    }
}
