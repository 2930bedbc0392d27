"""What the end of an attempt means for its step."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tasker_core import identifiers
from tasker_core.engine.outcome import Outcome, decide, server_delay
from tasker_core.states import StepState
from tasker_core.step_source import LeaseKey, StepReport
from tasker_core.template import RetryPolicy

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LEASE = LeaseKey(identifiers.new_task_uuid(), 0, 77)
SUCCESS = StepReport(LEASE, success=True, result="{}")


def decided(report: StepReport, *, attempt: int = 1, **policy: Any) -> Outcome:
    return decide(report, RetryPolicy(**policy), attempt=attempt, now=NOW, random=lambda: 0.5)


def failure(*, retryable: bool = True, metadata: dict[str, Any] | None = None) -> StepReport:
    error = {"error_type": "handler_error", "message": "no", "retryable": retryable}
    return StepReport(LEASE, success=False, metadata=metadata or {}, error=error)


def test_a_success_completes_the_step_on_any_attempt() -> None:
    assert decided(SUCCESS, attempt=7, max_attempts=3) == Outcome(StepState.COMPLETE)


def test_a_retryable_failure_waits_for_its_next_attempt() -> None:
    assert decided(failure(), attempt=2, max_attempts=3) == Outcome(StepState.WAITING_FOR_RETRY, pytest.approx(2.0))


def test_the_last_attempt_that_fails_leaves_the_step_in_error() -> None:
    assert decided(failure(), attempt=3, max_attempts=3) == Outcome(StepState.ERROR)


def test_a_permanent_failure_leaves_the_step_in_error_at_once() -> None:
    assert decided(failure(retryable=False), max_attempts=3) == Outcome(StepState.ERROR)


def test_the_template_can_forbid_retries_that_the_handler_would_like() -> None:
    assert decided(failure(), retryable=False) == Outcome(StepState.ERROR)


def test_the_servers_delay_reaches_the_outcome_without_jitter() -> None:
    assert decided(failure(metadata={"retry_after": 42})).delay == 42.0


@pytest.mark.parametrize("name", ["retry-after", "Retry-After", "RETRY-AFTER", "rEtRy-AfTeR"])
def test_the_header_counts_in_any_letter_case(name: str) -> None:
    assert server_delay({"headers": {name: "120"}}, now=NOW) == 120.0


def test_explicit_seconds_come_before_the_header() -> None:
    metadata = {"headers": {"Retry-After": "3"}, "retry_after": 2, "retry_after_seconds": 1}
    assert server_delay(metadata, now=NOW) == 1.0
    del metadata["retry_after_seconds"]
    assert server_delay(metadata, now=NOW) == 2.0


def test_an_unusable_value_does_not_hide_a_usable_one() -> None:
    metadata = {"retry_after_seconds": True, "retry_after": "soon", "headers": {"retry-after": "5"}}
    assert server_delay(metadata, now=NOW) == 5.0


@pytest.mark.parametrize("metadata", [{}, {"headers": None}, {"headers": ["retry-after"]}, {"headers": {1: 2}}])
def test_metadata_without_a_delay_gives_none(metadata: dict[str, Any]) -> None:
    assert server_delay(metadata, now=NOW) is None
