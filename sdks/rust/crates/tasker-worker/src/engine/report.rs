//! Results as they are sent.

use serde::{Deserialize, Serialize};
use serde_json::json;
use tasker_shared::wire::{LeaseItem, WireResult};
use uuid::Uuid;

/// Bytes of JSON beyond which a report is split.
const MOST_BYTES_TOGETHER: usize = 8 * 1024 * 1024;

/// Bytes of JSON beyond which a single result is refused; the server takes 16 MiB with everything around it.
const MOST_BYTES: usize = 15 * 1024 * 1024;

/// Longest text of an error message that is kept, in characters.
const MOST_CHARACTERS: usize = 10_000;

/// Names a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LeaseKey {
    /// The leased step.
    pub step_uuid: Uuid,
    /// The lease; no two have the same.
    pub lease_id: i64,
}

impl LeaseKey {
    /// The key of a lease.
    pub fn of(lease: &LeaseItem) -> Self {
        Self { step_uuid: lease.step_uuid, lease_id: lease.lease_id }
    }
}

/// How an attempt ended, for counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Succeeded,
    Failed,
    Checkpoint,
}

/// A result that is ready to be sent.
#[derive(Clone, Debug)]
pub struct Report {
    pub key: LeaseKey,
    pub ending: Ending,
    /// The result as JSON.
    pub json: String,
    /// Says that the server did not take the real result.
    pub is_refusal: bool,
    /// Is sent without others, since the server did not take it among them.
    pub alone: bool,
}

impl Report {
    /// The report of a result; a failure if it is too large to be sent.
    pub fn of(result: &WireResult) -> Self {
        let key = LeaseKey { step_uuid: result.step_uuid, lease_id: result.lease_id };
        let json = match serde_json::to_string(result) {
            Ok(json) if json.len() <= MOST_BYTES => json,
            Ok(json) => {
                let reason = format!("it has {} bytes, and at most {MOST_BYTES} are taken", json.len());
                return Self::refused(key, &reason);
            }
            Err(error) => return Self::refused(key, &error.to_string()),
        };
        let ending = match result.success() {
            None => Ending::Checkpoint,
            Some(true) => Ending::Succeeded,
            Some(false) => Ending::Failed,
        };
        Self { key, ending, json, is_refusal: false, alone: false }
    }

    /// The report to send instead of a result that cannot be recorded.
    pub fn refused(key: LeaseKey, reason: &str) -> Self {
        Self {
            is_refusal: true,
            ..Self::failure(key, "result_refused", &format!("the result cannot be recorded: {reason}"))
        }
    }

    /// The report of a lease that the worker cannot read.
    pub fn unreadable(key: LeaseKey, reason: &str) -> Self {
        Self::failure(key, "lease_unreadable", &format!("the worker cannot read the lease: {reason}"))
    }

    fn failure(key: LeaseKey, error_type: &str, message: &str) -> Self {
        let json = json!({
            "step_uuid": key.step_uuid,
            "lease_id": key.lease_id,
            "success": false,
            "result": {},
            "status": "failed",
            "metadata": {"retryable": false, "error_type": error_type, "custom": {}},
            "error": {"message": printable(message), "error_type": error_type, "retryable": false},
        });
        Self { key, ending: Ending::Failed, json: json.to_string(), is_refusal: false, alone: false }
    }
}

/// How many of the reports in front go into one call: up to `most`, within the size of a body, and one that is to be
/// sent alone by itself.
pub fn batch_size<'a>(reports: impl Iterator<Item = &'a Report>, most: usize) -> usize {
    let (mut count, mut bytes) = (0, 0);
    for report in reports.take(most) {
        bytes += report.json.len();
        if count > 0 && (report.alone || bytes > MOST_BYTES_TOGETHER) {
            break;
        }
        count += 1;
        if report.alone {
            break;
        }
    }
    count
}

/// The body of a report call.
pub fn report_body(reports: &[Report], want: usize) -> String {
    let results: Vec<&str> = reports.iter().map(|report| report.json.as_str()).collect();
    format!(r#"{{"results":[{}],"lease":{want}}}"#, results.join(","))
}

/// Text that can be stored: shortened, with NUL written as an escape.
pub fn printable(text: &str) -> String {
    text.chars().take(MOST_CHARACTERS).collect::<String>().replace('\0', "\\x00")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(bytes: usize) -> Report {
        let key = LeaseKey { step_uuid: Uuid::nil(), lease_id: 1 };
        Report { json: "x".repeat(bytes), ..Report::refused(key, "") }
    }

    #[test]
    fn a_batch_is_bounded_in_number_and_in_bytes() {
        let small = vec![report(10); 7];
        assert_eq!(batch_size(small.iter(), 5), 5);
        assert_eq!(batch_size(small[..3].iter(), 5), 3);
        let large = vec![report(3 * 1024 * 1024); 4];
        assert_eq!(batch_size(large.iter(), 10), 2);
        assert_eq!(batch_size([report(9 * 1024 * 1024), report(1)].iter(), 10), 1);
    }

    #[test]
    fn what_is_to_be_sent_alone_is() {
        let alone = Report { alone: true, ..report(1) };
        assert_eq!(batch_size([alone.clone(), report(1)].iter(), 10), 1);
        assert_eq!(batch_size([report(1), alone].iter(), 10), 1);
    }

    #[test]
    fn messages_are_cut_and_can_be_stored() {
        assert_eq!(printable(&"é".repeat(20_000)).chars().count(), MOST_CHARACTERS);
        assert_eq!(printable("a\0b"), "a\\x00b");
    }
}
