"""When a failed step is tried again."""

from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from tasker_core.template import Backoff, RetryPolicy

#: Longest delay in seconds that a server's Retry-After may ask for.
MAX_SERVER_DELAY_SECONDS = 3600.0

#: Half-width of the band around the computed delay, as a share of it.
JITTER = 0.15


def may_retry(policy: RetryPolicy, *, attempt: int, retryable: bool) -> bool:
    """Return whether a step whose attempt number ``attempt`` (from 1) failed gets another attempt.

    ``max_attempts`` counts all attempts, the first included; 0 behaves as 1.
    """
    return policy.retryable and retryable and attempt < max(1, policy.max_attempts)


def retry_delay(policy: RetryPolicy, *, attempt: int, server_delay: float | None, random: Callable[[], float]) -> float:
    """Return the seconds to wait after attempt number ``attempt`` (from 1) failed.

    Args:
        policy: the step's retry policy.
        attempt: number of the attempt that failed.
        server_delay: seconds that the called server asked for (Retry-After). Replaces the computed delay, up to
            an hour, without jitter.
        random: source of uniform numbers in [0, 1), for the jitter.

    Jitter of 15 % either way comes before the cap, so a delay never exceeds ``max_backoff_ms``.
    """
    if server_delay is not None:
        return min(max(server_delay, 0.0), MAX_SERVER_DELAY_SECONDS)
    base, cap = float(policy.backoff_base_ms), float(policy.max_backoff_ms)
    jitter = 1.0 - JITTER + 2.0 * JITTER * random()
    return min(base * _growth(policy.backoff, attempt, cap / base if base else 0.0) * jitter, cap) / 1000.0


def parse_retry_after(value: object, *, now: datetime) -> float | None:
    """Return the seconds that a Retry-After value asks for, or None if it says nothing usable.

    Accepts a number of seconds or, as in RFC 9110 section 10.2.3, an HTTP date; a date in the past gives 0.
    """
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        return float(value) if 0 <= value < float("inf") else None
    text = str(value).strip()
    if text.isdecimal() and text.isascii():
        return float(text)
    try:
        when = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return max(0.0, (when - now).total_seconds())


def _growth(backoff: Backoff, attempt: int, enough: float) -> float:
    """Return the factor on the base delay; growth beyond ``enough`` changes nothing and is not computed."""
    match backoff:
        case Backoff.NONE:
            return 0.0
        case Backoff.LINEAR:
            return float(attempt)
        case Backoff.EXPONENTIAL:
            return 2.0 ** min(attempt - 1, 64)
        case Backoff.FIBONACCI:
            factor, following = 1, 1
            for _ in range(attempt - 1):
                if factor * (1.0 - JITTER) > enough:
                    break
                factor, following = following, factor + following
            return float(factor)
