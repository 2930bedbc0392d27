"""When a failed step is tried again, and how long it waits."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasker_core.engine.retry import (
    JITTER,
    MAX_SERVER_DELAY_SECONDS,
    may_retry,
    parse_retry_after,
    retry_delay,
)
from tasker_core.template import Backoff, RetryPolicy

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
GROWING = [Backoff.LINEAR, Backoff.EXPONENTIAL, Backoff.FIBONACCI]

POLICIES = st.builds(
    RetryPolicy,
    backoff=st.sampled_from(list(Backoff)),
    backoff_base_ms=st.integers(0, 3_600_000),
    max_backoff_ms=st.integers(0, 3_600_000),
)
ATTEMPTS = st.integers(1, 1_000)
RANDOM_NUMBERS = st.floats(0, 1, exclude_max=True)


def delay(policy: RetryPolicy, attempt: int, random: float = 0.5, server: float | None = None) -> float:
    """The delay; the middle of the random range is the delay without jitter."""
    return retry_delay(policy, attempt=attempt, server_delay=server, random=lambda: random)


@pytest.mark.parametrize(
    ("retryable", "max_attempts", "allowed_after"),
    [
        (True, 0, []),
        (True, 1, []),
        (True, 2, [1]),
        (True, 3, [1, 2]),
        (False, 1, []),
        (False, 3, []),
    ],
)
def test_max_attempts_counts_all_attempts_and_zero_behaves_as_one(
    retryable: bool, max_attempts: int, allowed_after: list[int]
) -> None:
    policy = RetryPolicy(retryable=retryable, max_attempts=max_attempts)
    assert [n for n in range(1, 6) if may_retry(policy, attempt=n, retryable=True)] == allowed_after


def test_a_failure_that_is_not_retryable_is_final_whatever_the_policy_allows() -> None:
    assert not may_retry(RetryPolicy(max_attempts=100), attempt=1, retryable=False)


@pytest.mark.parametrize(
    ("backoff", "seconds"),
    [
        (Backoff.NONE, [0, 0, 0, 0, 0, 0, 0]),
        (Backoff.LINEAR, [1, 2, 3, 4, 5, 6, 7]),
        (Backoff.EXPONENTIAL, [1, 2, 4, 8, 16, 30, 30]),
        (Backoff.FIBONACCI, [1, 1, 2, 3, 5, 8, 13]),
    ],
)
def test_each_backoff_grows_from_the_base_as_documented_up_to_the_cap(backoff: Backoff, seconds: list[float]) -> None:
    policy = RetryPolicy(backoff=backoff, backoff_base_ms=1_000, max_backoff_ms=30_000)
    assert [delay(policy, attempt) for attempt in range(1, 8)] == pytest.approx(seconds)


@given(POLICIES, ATTEMPTS, RANDOM_NUMBERS)
def test_a_delay_is_never_negative_and_never_exceeds_the_cap(policy: RetryPolicy, attempt: int, random: float) -> None:
    assert 0 <= delay(policy, attempt, random) <= policy.max_backoff_ms / 1000


@given(POLICIES, ATTEMPTS)
def test_without_jitter_a_later_attempt_never_waits_less(policy: RetryPolicy, attempt: int) -> None:
    assert delay(policy, attempt) <= delay(policy, attempt + 1)


@given(st.sampled_from(GROWING), st.integers(1, 60_000), st.integers(1, 20), RANDOM_NUMBERS)
def test_jitter_stays_within_fifteen_percent_either_way(
    backoff: Backoff, base: int, attempt: int, random: float
) -> None:
    policy = RetryPolicy(backoff=backoff, backoff_base_ms=base, max_backoff_ms=2**62)
    plain, jittered = delay(policy, attempt), delay(policy, attempt, random)
    assert plain * (1 - JITTER) * 0.999999 <= jittered <= plain * (1 + JITTER) * 1.000001


def test_jitter_reaches_both_ends_of_its_band() -> None:
    policy = RetryPolicy(backoff_base_ms=1_000)
    assert delay(policy, 1, 0.0) == pytest.approx(0.85)
    assert delay(policy, 1, 1 - 1e-12) == pytest.approx(1.15)


@given(POLICIES, ATTEMPTS, RANDOM_NUMBERS, st.floats(0, 1e9))
def test_the_servers_wish_replaces_the_computed_delay_up_to_an_hour(
    policy: RetryPolicy, attempt: int, random: float, wish: float
) -> None:
    assert delay(policy, attempt, random, server=wish) == min(wish, MAX_SERVER_DELAY_SECONDS)


def test_a_server_may_ask_for_no_delay_at_all() -> None:
    assert delay(RetryPolicy(backoff_base_ms=60_000), 1, server=0.0) == 0.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (120, 120.0),
        (1.5, 1.5),
        (0, 0.0),
        ("120", 120.0),
        (" 7 ", 7.0),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
        (format_datetime(NOW - timedelta(days=1), usegmt=True), 0.0),
        ("Sunday, 01-Mar-26 12:01:00 GMT", 60.0),
        ("Sun, 01 Mar 2026 13:00:30 +0100", 30.0),
        ("Sun Mar  1 12:00:05 2026", 5.0),
    ],
)
def test_retry_after_is_seconds_or_a_date_of_any_http_form(value: object, seconds: float) -> None:
    assert parse_retry_after(value, now=NOW) == seconds


@pytest.mark.parametrize(
    "value",
    [None, True, False, -1, -0.5, float("nan"), float("inf"), "", "soon", "-5", "1e3", "٣", "12 monkeys", [], {}],
)
def test_a_retry_after_that_says_nothing_usable_is_ignored(value: object) -> None:
    assert parse_retry_after(value, now=NOW) is None


@given(st.text() | st.binary() | st.integers() | st.floats())
def test_no_retry_after_value_is_an_error_or_a_negative_delay(value: object) -> None:
    seconds = parse_retry_after(value, now=NOW)
    assert seconds is None or seconds >= 0
