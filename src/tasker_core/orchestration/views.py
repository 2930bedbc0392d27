"""Tasks, steps and their history as plain JSON-ready objects, for every way of showing them."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg

from tasker_core import identifiers, serialization
from tasker_core.serialization import rfc3339

_JSON_COLUMNS = ("context", "tags", "result", "metadata", "error", "inputs", "checkpoint", "task_snapshot")


def task_view(row: asyncpg.Record) -> dict[str, Any]:
    """Return a task as an object; times are RFC 3339 in UTC."""
    view = _plain(row)
    total, done = view["total_steps"], view["completed_steps"]
    view["completion_percentage"] = round(100.0 * done / total, 2) if total else 100.0
    view["execution_status"], view["recommended_action"] = _execution(view)
    view["health_status"] = _health(view)
    return view


def _execution(view: Mapping[str, Any]) -> tuple[str, str]:
    """Return how the execution of a task stands, and what is to be done about it."""
    if view["failed_steps"]:
        return "blocked_by_failures", "handle_failures"
    if view["ready_steps"]:
        return "has_ready_steps", "execute_ready_steps"
    if view["active_steps"]:
        return "processing", "wait_for_completion"
    if view["completed_steps"] == view["total_steps"]:
        return "all_complete", "finalize_task"
    return "waiting_for_dependencies", "wait_for_dependencies"


def _health(view: Mapping[str, Any]) -> str:
    if not view["failed_steps"]:
        return "healthy"
    return "recovering" if view["active_steps"] or view["retrying_steps"] else "blocked"


def dead_letter_view(row: asyncpg.Record) -> dict[str, Any]:
    """Return a dead letter, or its numbers, as an object."""
    return _plain(row)


def step_view(task_uuid: UUID, row: asyncpg.Record) -> dict[str, Any]:
    """Return a step as an object."""
    view = _plain(row)
    ordinal = view.pop("ordinal")
    del view["template_ordinal"]
    parents, unmet = len(view["dependencies"]), view["unmet_dependencies"]
    retryable = view["error"] is None or bool(view["error"].get("retryable", True))
    return {
        "step_uuid": str(identifiers.step_uuid(task_uuid, ordinal)),
        "task_uuid": str(task_uuid),
        **view,
        "dependencies_satisfied": not unmet,
        "retry_eligible": retryable and view["attempts"] < view["max_attempts"],
        "ready_for_execution": row["next_retry_at"] is not None and row["next_retry_at"] <= datetime.now(UTC),
        "total_parents": parents,
        "completed_parents": max(0, parents - unmet),
    }


def history_view(tasks: Iterable[asyncpg.Record], steps: Iterable[asyncpg.Record]) -> list[dict[str, Any]]:
    """Return every state change of a task and its steps, oldest first.

    One stored row tells a whole attempt; here it becomes the changes it stands for.
    """
    changes = [
        _change(row["occurred_at"], None, None, row["from_state"], row["to_state"], row["worker"], row) for row in tasks
    ]
    rows = list(steps)
    # A step that was put into the queue by hand has its row for that already.
    by_hand = {(row["name"], row["occurred_at"]) for row in rows if row["verb"] is not None}
    for row in rows:
        changes += (
            change
            for change in _attempt_changes(row)
            if change["verb"] is not None
            or change["to_state"] != "enqueued"
            or (row["name"], row["enqueued_at"]) not in by_hand
        )
    # In one instant the step's change comes first: the task's follows from it.
    return sorted(changes, key=lambda change: (change["occurred_at"], change["step"] is None))


def _attempt_changes(row: asyncpg.Record) -> list[dict[str, Any]]:
    name, attempt, worker = row["name"], row["attempt"], row["worker"]
    before = "pending" if attempt <= 1 else "waiting_for_retry"
    enqueued_at, leased_at, ended_at = row["enqueued_at"], row["leased_at"], row["occurred_at"]
    changes = []
    # A step that continues its worker's chain is claimed in the instant in which it becomes ready.
    continued = enqueued_at is not None and enqueued_at == leased_at
    if enqueued_at is not None and before == "pending" and not continued and row["verb"] is None:
        changes.append(_change(enqueued_at, name, None, before, "enqueued", None, None))
        before = "enqueued"
    # An operator who ends a step takes a lease for it; that is no claim that anybody wants to see.
    by_hand = ended_at is not None and row["verb"] is not None and row["from_state"] != "in_progress"
    if leased_at is not None and not by_hand:
        changes.append(_change(leased_at, name, attempt, before, "in_progress", worker, None))
    if ended_at is not None:
        changes.append(_change(ended_at, name, attempt, row["from_state"], row["to_state"], worker, row))
    return changes


def _change(
    at: datetime,
    step: str | None,
    attempt: int | None,
    before: str,
    after: str,
    worker: str | None,
    row: asyncpg.Record | None,
) -> dict[str, Any]:
    details = dict(row) if row is not None else {}
    return {
        "occurred_at": rfc3339(at),
        "step": step,
        "attempt": attempt or None,
        "from_state": before,
        "to_state": after,
        "worker": worker,
        "verb": details.get("verb"),
        "actor": details.get("actor"),
        "reason": details.get("reason"),
        "execution_time_ms": details.get("execution_time_ms"),
        "error": serialization.loads(details["error"]) if details.get("error") else None,
    }


def _plain(row: asyncpg.Record) -> dict[str, Any]:
    return {key: _plain_value(key, value) for key, value in row.items()}


def _plain_value(key: str, value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, str):
        return serialization.loads(value) if key in _JSON_COLUMNS else value
    if isinstance(value, Sequence):
        return list(value)
    return str(value)
