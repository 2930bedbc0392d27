//! The standard values of `error_type`. Any other non-empty text is allowed, too.

/// Another attempt would fail the same way.
pub const PERMANENT_ERROR: &str = "permanent_error";
/// Another attempt may succeed.
pub const RETRYABLE_ERROR: &str = "retryable_error";
/// The input is wrong.
pub const VALIDATION_ERROR: &str = "validation_error";
/// Something took too long.
pub const TIMEOUT: &str = "timeout";
/// A handler failed without saying how.
pub const HANDLER_ERROR: &str = "handler_error";

/// All of them.
pub const ALL: [&str; 5] = [PERMANENT_ERROR, RETRYABLE_ERROR, VALIDATION_ERROR, TIMEOUT, HANDLER_ERROR];

/// Whether `error_type` is one of [`ALL`].
pub fn is_standard(error_type: &str) -> bool {
    ALL.contains(&error_type)
}

/// Whether another attempt helps as a rule: [`RETRYABLE_ERROR`] and [`TIMEOUT`].
pub fn is_typically_retryable(error_type: &str) -> bool {
    [RETRYABLE_ERROR, TIMEOUT].contains(&error_type)
}
