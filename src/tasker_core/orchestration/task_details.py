"""What is shown of a task beyond itself: its steps in detail, its summary and the audit of its steps."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import asyncpg

from tasker_core import identifiers, serialization
from tasker_core.engine.planner import Plan, StepPlan
from tasker_core.orchestration import views
from tasker_core.orchestration.operations import StepNotFoundError, TaskNotFoundError
from tasker_core.orchestration.plans import Plans
from tasker_core.serialization import rfc3339
from tasker_core.states import StepState, TaskState
from tasker_core.store import NewTask, Store, task_details

_READINESS = (
    "task_uuid",
    "name",
    "current_state",
    "dependencies_satisfied",
    "retry_eligible",
    "ready_for_execution",
    "last_failure_at",
    "next_retry_at",
    "total_parents",
    "completed_parents",
    "attempts",
    "max_attempts",
    "last_attempted_at",
)
_SUMMARY_OF_TASK = (
    "task_uuid",
    "name",
    "namespace",
    "version",
    "status",
    "created_at",
    "updated_at",
    "completed_at",
    "correlation_id",
    "total_steps",
    "pending_steps",
    "in_progress_steps",
    "completed_steps",
    "failed_steps",
    "completion_percentage",
    "health_status",
    "execution_status",
    "recommended_action",
)
_SUMMARY_OF_STEP = (
    "step_uuid",
    "name",
    "current_state",
    "created_at",
    "completed_at",
    "last_attempted_at",
    "attempts",
    "max_attempts",
    "dependencies_satisfied",
    "retry_eligible",
)
_COUNTS_OF_WHAT_HAPPENED = ("retrying_steps", "failed_steps", "completed_steps", "in_progress_steps", "ready_steps")
_FIELDS_OF_WHAT_HAPPENED = ("started_at", "completed_at", "paused_at", "paused_by", "pause_reason")


class TaskDetails:
    """What is shown of a task beyond itself. All of it raises TaskNotFoundError if there is no such task."""

    def __init__(self, store: Store, plans: Plans) -> None:
        self._store = store
        self._plans = plans

    async def require_within(self, task_uuid: UUID, namespaces: Collection[str] | None) -> None:
        """Refuse a task outside of some namespaces as if it did not exist; None stands for all namespaces.

        Raises:
            TaskNotFoundError: there is no such task within them.
        """
        if namespaces is not None and (await self._plan(task_uuid)).template.namespace_name not in namespaces:
            raise TaskNotFoundError(task_uuid)

    async def task(self, task_uuid: UUID) -> dict[str, Any]:
        """Return a task with the readiness of its steps."""
        task, rows = await asyncio.gather(self._store.task(task_uuid), self._store.steps_of_task(task_uuid))
        if task is None:
            raise TaskNotFoundError(task_uuid)
        view = views.task_view(task)
        identity = f"{view['namespace']}/{view['name']}/{view['version']}"
        view["steps"] = [_readiness(identity, views.step_view(task_uuid, row)) for row in rows]
        return view

    async def created(self, task: NewTask, plan: Plan) -> dict[str, Any]:
        """Return a task that was just created as `task` would, had nobody touched it since, but in less time."""
        moment = await task_details.created_at(self._store.database, task.task_uuid)
        if moment is None:
            raise TaskNotFoundError(task.task_uuid)
        view = views.task_view(_new_task_row(task, plan, moment))
        identity = plan.template.identity
        rows = (_new_step_row(plan, step) for step in plan.steps if step.initial)
        view["steps"] = [_readiness(identity, views.step_view(task.task_uuid, row)) for row in rows]
        return view

    async def steps(self, task_uuid: UUID) -> list[dict[str, Any]]:
        """Return all steps of a task, each with the result of its last attempt."""
        rows, durations = await asyncio.gather(
            self._store.steps_of_task(task_uuid), task_details.attempt_durations(self._store.database, task_uuid)
        )
        if not rows:
            await self._plan(task_uuid)
        return [_with_results(views.step_view(task_uuid, row), durations.get(row["ordinal"])) for row in rows]

    async def step(self, task_uuid: UUID, step_uuid: UUID) -> dict[str, Any]:
        """Return a step of a task with the result of its last attempt.

        Raises:
            StepNotFoundError: the task has no such step.
        """
        ordinal = identifiers.ordinal_of(step_uuid)
        belongs = identifiers.task_uuid_of(step_uuid) == task_uuid
        rows = await self._store.steps_of_task(task_uuid, ordinal) if belongs else []
        if not rows:
            await self._plan(task_uuid)
            raise StepNotFoundError(task_uuid, str(step_uuid))
        durations = await task_details.attempt_durations(self._store.database, task_uuid, ordinal)
        return _with_results(views.step_view(task_uuid, rows[0]), durations.get(ordinal))

    async def audit(self, task_uuid: UUID, step_uuid: UUID) -> list[dict[str, Any]]:
        """Return every ended attempt of a step and everything that was done to it by hand, newest first.

        Raises:
            StepNotFoundError: the task has no such step.
        """
        step = await self.step(task_uuid, step_uuid)
        rows = await task_details.audit_of_step(
            self._store.database, task_uuid, identifiers.ordinal_of(UUID(step["step_uuid"]))
        )
        return [_audit_entry(task_uuid, step_uuid, row) for row in rows]

    async def summary(self, task_uuid: UUID) -> dict[str, Any]:
        """Return all that it takes to draw a task."""
        task, rows, dead_letter, plan = await asyncio.gather(
            self._store.task(task_uuid),
            self._store.steps_of_task(task_uuid),
            task_details.dead_letter_of_task(self._store.database, task_uuid),
            self._plan(task_uuid),
        )
        if task is None:
            raise TaskNotFoundError(task_uuid)
        view = views.task_view(task)
        who = {"initiator": "unknown", "source_system": "unknown", "reason": ""}
        return {
            "task": {key: view[key] for key in _SUMMARY_OF_TASK}
            | {key: view[key] or default for key, default in who.items()},
            "template": {"steps": _template_steps(plan)},
            "steps": [_step_summary(views.step_view(task_uuid, row)) for row in rows],
            "dlq": {
                "in_dlq": dead_letter is not None and dead_letter["resolution_status"] == "pending",
                "dlq_reason": dead_letter["dlq_reason"] if dead_letter else None,
                "resolution_status": dead_letter["resolution_status"] if dead_letter else None,
            },
            "links": {
                "task": f"/v1/tasks/{task_uuid}",
                "steps": f"/v1/tasks/{task_uuid}/workflow_steps",
                "dlq": "/v1/dlq",
            },
        }

    async def _plan(self, task_uuid: UUID) -> Plan:
        template_id = await self._store.template_of_task(task_uuid)
        if template_id is None:
            raise TaskNotFoundError(task_uuid)
        return await self._plans.get(template_id)


def _new_task_row(task: NewTask, plan: Plan, created_at: datetime) -> Any:
    """Return a new task as the store would."""
    template = plan.template
    initial = [step for step in plan.steps if step.initial]
    ready = sum(not step.dependencies for step in initial)
    return {
        "task_uuid": task.task_uuid,
        "namespace": template.namespace_name,
        "name": template.name,
        "version": template.version,
        "environment": plan.environment,
        "template_digest": plan.digest,
        "status": TaskState.PENDING.value,
        "priority": task.priority,
        "correlation_id": task.correlation_id,
        "parent_correlation_id": task.parent_correlation_id,
        "total_steps": len(initial),
        "active_steps": ready,
        "pending_steps": len(initial) - ready,
        **dict.fromkeys(_COUNTS_OF_WHAT_HAPPENED, 0),
        "context": task.context,
        "initiator": task.initiator,
        "source_system": task.source_system,
        "reason": task.reason,
        "tags": task.tags,
        "created_at": created_at,
        "updated_at": created_at,
        "requested_at": task.requested_at or created_at,
        **dict.fromkeys(_FIELDS_OF_WHAT_HAPPENED),
        "identity_hash": task.identity_hash and task.identity_hash.hex(),
    }


def _new_step_row(plan: Plan, step: StepPlan) -> Any:
    """Return a step of a new task as the store would, as far as its readiness goes."""
    return {
        "ordinal": step.ordinal,
        "template_ordinal": step.ordinal,
        "name": step.step.name,
        "template_step": step.step.name,
        "current_state": (StepState.PENDING if step.dependencies else StepState.ENQUEUED).value,
        "attempts": 0,
        "max_attempts": step.step.retry.max_attempts,
        "unmet_dependencies": len(step.dependencies),
        "dependencies": [plan.steps[ordinal].step.name for ordinal in step.dependencies],
        **dict.fromkeys(("error", "last_failure_at", "next_retry_at", "last_attempted_at")),
    }


@lru_cache(maxsize=4096)
def _named_step_uuid(identity: str, step: str) -> str:
    """Return a stable UUID for a step of a template, whatever its version's content."""
    return str(uuid5(uuid5(NAMESPACE_URL, f"tasker:{identity}"), step))


def _readiness(identity: str, step: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "workflow_step_uuid": step["step_uuid"],
        "named_step_uuid": _named_step_uuid(identity, step["template_step"]),
        **{key: step[key] for key in _READINESS},
        "backoff_request_seconds": None,
    }


def _with_results(step: dict[str, Any], execution_time_ms: int | None) -> dict[str, Any]:
    """Return a step with result, metadata and error in one object, as they came from the handler."""
    result, metadata, error = step.pop("result"), step.pop("metadata"), step.pop("error")
    complete = step["current_state"] == "complete"
    results = None
    if complete or error is not None:
        results = {
            "step_uuid": step["step_uuid"],
            "success": complete,
            "status": "completed" if complete else "failed",
            "result": result,
            "metadata": {"execution_time_ms": execution_time_ms or 0, "custom": metadata or {}},
            "error": error,
            "orchestration_metadata": None,
        }
    return {**step, "results": results}


def _audit_entry(task_uuid: UUID, step_uuid: UUID, row: asyncpg.Record) -> dict[str, Any]:
    result = row["error"] if row["result"] is None else row["result"]
    entry = {
        "audit_uuid": str(uuid5(task_uuid, f"audit:{row['sequence']}")),
        "workflow_step_uuid": str(step_uuid),
        "transition_uuid": str(uuid5(task_uuid, f"step_transition:{row['sequence']}")),
        "task_uuid": str(task_uuid),
        "recorded_at": rfc3339(row["occurred_at"]),
        "worker_uuid": row["worker_uuid"] and str(row["worker_uuid"]),
        "worker": row["worker"],
        "correlation_id": str(row["correlation_id"]),
        "success": row["to_state"] in {"complete", "resolved_manually"},
        "execution_time_ms": row["execution_time_ms"],
        "result": None if result is None else serialization.loads(result),
        "step_name": row["step_name"],
        "attempt": row["attempt"] or None,
        "from_state": row["from_state"],
        "to_state": row["to_state"],
        "action": row["verb"],
        "actor": row["actor"],
        "reason": row["reason"],
    }
    return {key: value for key, value in entry.items() if value is not None}


def _template_steps(plan: Plan) -> Sequence[dict[str, Any]]:
    return [
        {
            "name": step.name,
            "step_type": str(step.type),
            "handler": step.handler.callable,
            "dependencies": list(step.dependencies),
            "retryable": step.retry.retryable,
            "max_attempts": step.retry.max_attempts,
        }
        for step in plan.template.steps
    ]


def _step_summary(step: Mapping[str, Any]) -> dict[str, Any]:
    summary = {key: step[key] for key in _SUMMARY_OF_STEP}
    error = step["error"]
    if error is not None and error.get("error_type"):
        digest = {
            "error_type": error["error_type"],
            "retryable": bool(error.get("retryable", True)),
            "status_code": error.get("status_code"),
        }
        summary["error"] = {key: value for key, value in digest.items() if value is not None}
    return summary
