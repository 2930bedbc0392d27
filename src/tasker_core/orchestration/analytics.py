"""Numbers about the past."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

import asyncpg

from tasker_core.serialization import rfc3339
from tasker_core.states import StepState, TaskState
from tasker_core.store import Store
from tasker_core.store import analytics as counted

#: Seconds for which an answer is given again instead of counting anew.
FRESH_SECONDS: Final = 60.0

#: Answers that are kept.
_MOST_KEPT: Final = 100

#: What is worth a recommendation: a share of failed attempts, a share of busy connections, seconds of a step.
_HIGH_ERROR_RATE: Final = 0.2
_HIGH_UTILIZATION: Final = 0.8
_SLOW_STEP_SECONDS: Final = 30.0


class Analytics:
    """Counts what was done in the past. An answer is up to a minute old, and never are two counted at once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._answers: dict[Hashable, tuple[float, dict[str, Any]]] = {}
        self._counting = asyncio.Lock()

    async def performance(self, *, hours: int = 24, namespaces: Sequence[str] | None = None) -> dict[str, Any]:
        """Return how the last hours went.

        Args:
            hours: how many.
            namespaces: where; everywhere if None.

        Returns:
            ``total_tasks`` and ``active_tasks`` at present; ``completed_tasks`` and ``failed_tasks`` (ended as
            ``error``, or blocked by failures), ``completion_rate`` and ``error_rate`` in percent of the tasks that
            came to rest;
            ``average_task_duration_seconds`` and ``average_step_duration_seconds`` from start to end;
            ``tasks_per_hour`` and ``steps_per_hour`` that were completed; ``system_health_score``, the share of
            completed tasks in the last hour, 1 if there were none; ``analysis_period_start``, ``calculated_at``.
        """

        async def count() -> dict[str, Any]:
            return _performance(await counted.performance(self._store.database, hours, namespaces), hours)

        return await self._cached(("performance", hours, _key(namespaces)), count)

    async def bottlenecks(
        self, *, limit: int = 10, min_executions: int = 5, namespaces: Sequence[str] | None = None
    ) -> dict[str, Any]:
        """Return what took longest in the last 24 hours, and what might be done about it.

        Args:
            limit: how many steps, and how many templates, at most.
            min_executions: how often one must have run to count.
            namespaces: where; everywhere if None.

        Returns:
            ``slow_steps`` and ``slow_tasks``, the slowest first; ``resource_utilization`` with the share of
            connections in use and the numbers of tasks and steps in each state; ``recommendations`` in words.
        """

        async def count() -> dict[str, Any]:
            database = self._store.database
            utilization = counted.pool_utilization(database)
            slow_steps = await counted.slow_steps(database, limit, min_executions, namespaces)
            slow_tasks = await counted.slow_tasks(database, limit, min_executions, namespaces)
            health = _numbers(TaskState, "tasks", await counted.tasks_by_state(database, namespaces))
            health |= _numbers(StepState, "steps", await counted.steps_by_state(database, namespaces))
            steps = [_slow(row) for row in slow_steps]
            return {
                "slow_steps": steps,
                "slow_tasks": [_slow(row) for row in slow_tasks],
                "resource_utilization": {"database_pool_utilization": utilization, "system_health": health},
                "recommendations": _recommendations(steps, utilization),
            }

        return await self._cached(("bottlenecks", limit, min_executions, _key(namespaces)), count)

    async def _cached(self, key: Hashable, count: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
        answer = self._fresh(key)
        if answer is None:
            async with self._counting:
                answer = self._fresh(key)
                if answer is None:
                    answer = await count()
                    self._keep(key, answer)
        return answer

    def _fresh(self, key: Hashable) -> dict[str, Any] | None:
        counted_at, answer = self._answers.get(key, (-FRESH_SECONDS, None))
        return answer if time.monotonic() - counted_at < FRESH_SECONDS else None

    def _keep(self, key: Hashable, answer: dict[str, Any]) -> None:
        self._answers.pop(key, None)
        while len(self._answers) >= _MOST_KEPT:
            del self._answers[next(iter(self._answers))]
        self._answers[key] = time.monotonic(), answer


def _key(namespaces: Sequence[str] | None) -> Hashable:
    return None if namespaces is None else tuple(namespaces)


def _performance(row: asyncpg.Record, hours: int) -> dict[str, Any]:
    ended = row["ended_tasks"]
    completed, failed = row["completed_tasks"], row["failed_tasks"]
    lately = row["completed_lately"] + row["failed_lately"]
    return {
        "total_tasks": row["total_tasks"],
        "active_tasks": row["active_tasks"],
        "completed_tasks": completed,
        "failed_tasks": failed,
        "completion_rate": round(100 * completed / ended, 2) if ended else 0.0,
        "error_rate": round(100 * failed / ended, 2) if ended else 0.0,
        "average_task_duration_seconds": row["task_seconds"] or 0.0,
        "average_step_duration_seconds": row["step_seconds"] or 0.0,
        "tasks_per_hour": round(completed / hours),
        "steps_per_hour": round(row["completed_steps"] / hours),
        "system_health_score": row["completed_lately"] / lately if lately else 1.0,
        "analysis_period_start": rfc3339(row["since"]),
        "calculated_at": rfc3339(row["now"]),
    }


def _slow(row: asyncpg.Record) -> dict[str, Any]:
    return dict(row) | {"last_executed_at": rfc3339(row["last_executed_at"])}


def _numbers(states: type[StrEnum], things: str, numbers: Mapping[str, int]) -> dict[str, int]:
    by_state = {f"{state}_{things}": numbers.get(state, 0) for state in states}
    return by_state | {f"total_{things}": sum(numbers.values())}


def _recommendations(steps: Sequence[Mapping[str, Any]], utilization: float) -> list[str]:
    """Return what might be done about steps that fail often or take long, and about a busy pool."""
    found = []
    for step in steps:
        name = f"Step '{step['step_name']}' of {step['namespace_name']}/{step['task_name']}/{step['version']}"
        if step["error_rate"] > _HIGH_ERROR_RATE:
            found.append(f"{name} fails in {step['error_rate']:.0%} of its attempts: look at its errors")
        if step["average_duration_seconds"] > _SLOW_STEP_SECONDS:
            found.append(
                f"{name} takes {step['average_duration_seconds']:.1f} seconds on average: "
                "make it faster, or split its work into batches"
            )
    if utilization > _HIGH_UTILIZATION:
        found.append(f"{utilization:.0%} of the database connections are in use: allow more of them")
    return found
