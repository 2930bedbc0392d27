"""How near the tasks under way are to being stale."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import msgspec

from tasker_core import serialization
from tasker_core.engine import staleness
from tasker_core.engine.staleness import WARNING_SHARE, Health, Policy, QueuedSteps, Standing, TaskFacts
from tasker_core.states import TaskState
from tasker_core.store import Store
from tasker_core.store.staleness import StalenessView, staleness_view
from tasker_core.template import Lifecycle

#: Tasks that are looked at together.
_PAGE = 200

_ORDER = [Health.STALE, Health.WARNING, Health.HEALTHY]

_Page = Callable[[UUID | None], Awaitable[list[UUID]]]


class _Judged(NamedTuple):
    row: asyncpg.Record
    standing: Standing


async def monitor(
    store: Store, *, lease_seconds: float, namespaces: Sequence[str] | None = None, limit: int
) -> list[dict[str, Any]]:
    """Return tasks that are under way: those that are stale, then those that soon will be, then others.

    Time counts as the sweeper counts it: a task makes no progress while a step is due and nobody is there who could run
    it; a deadline runs from the requested start.

    Args:
        store: where the tasks are.
        lease_seconds: how long leases last, which tells live workers from dead ones.
        namespaces: only tasks in these.
        limit: how many at most.

    Returns:
        For each task ``task_uuid``, ``namespace_name``, ``task_name``, ``current_state``, ``time_in_state_minutes``,
        ``task_age_minutes``, ``staleness_threshold_minutes``, ``health_status`` and ``priority``.
    """
    found: dict[UUID, _Judged] = {}
    async with staleness_view(store.database, staleness.silence(lease_seconds)) as view:
        policies = _policies(await view.lifecycles(namespaces))
        for page in await _searches(view, policies):
            async for task_uuid, judged in _judged(view, policies, page):
                if judged.standing.health is not Health.HEALTHY:
                    found[task_uuid] = judged
                if len(found) >= limit:
                    break
        if len(found) < limit:
            async for task_uuid, judged in _judged(view, policies, lambda after: _open_tasks(view, policies, after)):
                found[task_uuid] = judged
                if len(found) >= limit:
                    break
    answer = sorted(
        found.values(), key=lambda each: (_ORDER.index(each.standing.health), -each.standing.minutes, each.row[1])
    )
    return [_view(each) for each in answer[:limit]]


async def _searches(view: StalenessView, policies: Mapping[int, Policy]) -> list[_Page]:
    """Return ways to search for tasks that may be stale, or near to it."""
    deadlines = [
        (template_id, _warning(policy.deadline), True)
        for template_id, policy in policies.items()
        if policy.deadline is not None
    ]
    limits = [(template_id, _warning(min(policy.limits.values())), True) for template_id, policy in policies.items()]
    handlers = await view.handlers_without_worker()
    searches: list[_Page] = []
    if deadlines:
        searches.append(lambda after: view.overdue_tasks(deadlines, after, _PAGE))
    if handlers:
        searches.append(lambda after: view.idle_tasks(handlers, limits, after, _PAGE))
    return searches


async def _judged(
    view: StalenessView, policies: Mapping[int, Policy], page_after: _Page
) -> AsyncIterator[tuple[UUID, _Judged]]:
    page = await page_after(None)
    while page:
        for row, facts in facts_of(await view.task_facts(page)):
            standing = staleness.standing(facts, policies[row["template_id"]])
            if standing is not None:
                yield row["task_uuid"], _Judged(row, standing)
        page = await page_after(page[-1]) if len(page) == _PAGE else []


async def _open_tasks(view: StalenessView, policies: Mapping[int, Policy], after: UUID | None) -> list[UUID]:
    return await view.queued_tasks(list(policies), after, _PAGE)


def facts_of(rows: Sequence[asyncpg.Record]) -> Iterator[tuple[asyncpg.Record, TaskFacts]]:
    """Yield the facts of each task, with one of its rows."""
    for _, group in groupby(rows, key=lambda row: row["task_uuid"]):
        kinds = list(group)
        row = kinds[0]
        yield (
            row,
            TaskFacts(
                now=row["now"],
                state=TaskState(row["state"]),
                requested_at=row["requested_at"],
                finished_at=row["finished_at"],
                has_dead_letter=row["has_dead_letter"],
                queued=[
                    QueuedSteps(
                        kind["status"],
                        kind["callable"],
                        kind["due_at"],
                        kind["has_live_worker"],
                        kind["worker_seen_at"],
                    )
                    for kind in kinds
                    if kind["status"] is not None
                ],
            ),
        )


def _policies(lifecycles: Mapping[int, str | None]) -> dict[int, Policy]:
    return {
        template_id: staleness.policy_of(
            None if lifecycle is None else msgspec.convert(serialization.loads(lifecycle), Lifecycle | None)
        )
        for template_id, lifecycle in lifecycles.items()
    }


def _warning(minutes: int) -> int:
    return int(minutes * WARNING_SHARE)


def _view(judged: _Judged) -> dict[str, Any]:
    row, standing = judged
    return {
        "task_uuid": str(row["task_uuid"]),
        "namespace_name": row["namespace"],
        "task_name": row["name"],
        "current_state": row["state"],
        "time_in_state_minutes": standing.minutes,
        "task_age_minutes": int((row["now"] - row["created_at"]).total_seconds() // 60),
        "staleness_threshold_minutes": standing.limit,
        "health_status": standing.health.value,
        "priority": row["priority"],
    }
