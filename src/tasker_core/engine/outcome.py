"""What the end of an attempt means for its step."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from tasker_core import serialization
from tasker_core.engine import retry
from tasker_core.states import StepState
from tasker_core.step_source import StepReport
from tasker_core.template import RetryPolicy


@dataclass(frozen=True, slots=True)
class Outcome:
    """The state that a step takes at the end of an attempt, and how long it then waits.

    Attributes:
        state: ``complete``, ``waiting_for_retry`` or ``error``.
        delay: seconds until the next attempt; only with ``waiting_for_retry``.
    """

    state: StepState
    delay: float | None = None


COMPLETE = Outcome(StepState.COMPLETE)
_ERROR = Outcome(StepState.ERROR)


def decide(
    report: StepReport, policy: RetryPolicy, *, attempt: int, now: datetime, random: Callable[[], float]
) -> Outcome:
    """Return what a report on attempt number ``attempt`` (from 1) means under the step's retry policy."""
    if report.success:
        return COMPLETE
    if not retry.may_retry(policy, attempt=attempt, retryable=report.retryable):
        return _ERROR
    delay = retry.retry_delay(
        policy, attempt=attempt, server_delay=server_delay(report.metadata, now=now), random=random
    )
    return Outcome(StepState.WAITING_FOR_RETRY, delay)


def forgiven(report: StepReport, inputs: Mapping[str, Any]) -> StepReport:
    """Return the success that stands for a batch worker's last failure under ``continue_on_failure``.

    Its result has ``partial_failure``, the error, and of its cursor ``batch_id``, ``start_cursor`` and
    ``end_cursor``, so that the step that gathers the batches sees what is missing.
    """
    cursor = inputs.get("cursor") or {}
    result = {
        "partial_failure": True,
        "error": report.error,
        **{key: cursor.get(key) for key in ("batch_id", "start_cursor", "end_cursor")},
    }
    metadata = {**report.metadata, "batch_worker": True, "partial_failure": True}
    return replace(report, success=True, result=serialization.dumps(result), metadata=metadata, error=None)


def server_delay(metadata: dict[str, Any], *, now: datetime) -> float | None:
    """Return the delay in seconds that the called server asked for, wherever a handler's metadata says so.

    Looked for in this order: ``retry_after_seconds``, ``retry_after``, and a ``retry-after`` header in
    ``headers`` (any letter case).
    """
    headers = metadata.get("headers")
    from_headers = (
        [value for name, value in headers.items() if str(name).lower() == "retry-after"]
        if isinstance(headers, dict)
        else []
    )
    for value in (metadata.get("retry_after_seconds"), metadata.get("retry_after"), *from_headers):
        seconds = retry.parse_retry_after(value, now=now)
        if seconds is not None:
            return seconds
    return None
