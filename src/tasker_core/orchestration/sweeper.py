"""Background duty: tasks that nothing will move any more come to somebody's attention."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any
from uuid import UUID

import asyncpg
import structlog

from tasker_core.engine import staleness
from tasker_core.engine.operations import IllegalMoveError
from tasker_core.engine.staleness import Policy, Stale
from tasker_core.orchestration.plans import Plans
from tasker_core.orchestration.staleness import facts_of
from tasker_core.store import Store
from tasker_core.store.staleness import StalenessView, staleness_view

#: Tasks that one sweep changes; the others follow a sweep later.
BATCH = 100

#: Seconds between two sweeps.
INTERVAL = 60.0

#: Dead letters that one sweep closes.
_CLOSED_AT_ONCE = 1_000

#: Who resolves dead letters that resolve themselves.
_ACTOR = "tasker"

#: What happens to a stale task, by whether it becomes a dead letter and whether it ends.
_ACTIONS = {
    (True, True): "transitioned_to_dlq_and_error",
    (True, False): "moved_to_dlq_only",
    (False, True): "transitioned_to_error_only",
    (False, False): "reported_only",
}
_ACTIONS_OF_DRY_RUN = {
    (True, True): "would_transition_to_dlq_and_error",
    (True, False): "would_move_to_dlq_only",
    (False, True): "would_transition_to_error_only",
    (False, False): "reported_only",
}

log = structlog.get_logger("tasker.sweeper")

_FailTask = Callable[[UUID, str], Awaitable[object]]


class Sweeper:
    """Finds stale tasks and does with them what their templates say (see :mod:`tasker_core.engine.staleness`).

    Any number of processes may run one: only one sweeps at a time.

    Args:
        store: where the tasks are.
        plans: plans of stored templates.
        lease_seconds: how long leases last, which tells live workers from dead ones.
        fail_task: ends a task as ``error`` for a reason; raises IllegalMoveError if it has ended.
    """

    def __init__(self, store: Store, plans: Plans, *, lease_seconds: float, fail_task: _FailTask) -> None:
        self._store = store
        self._plans = plans
        self._silence = staleness.silence(lease_seconds)
        self._fail_task = fail_task
        self._has_deadline: dict[int, bool] = {}

    async def run(self) -> None:
        """Sweep until cancelled; a sweep that fails is logged.

        The first one waits like the others: workers that start together with it have to be seen first.
        """
        while True:
            await asyncio.sleep(INTERVAL * random.uniform(0.8, 1.2))
            try:
                await self.sweep()
            except Exception as error:  # noqa: BLE001 - whatever it is, the next sweep may do better
                log.warning("sweep_failed", reason=str(error))

    async def sweep(self, dry_run: bool = False) -> list[dict[str, Any]]:
        """Handle up to 100 stale tasks, oldest first, and close dead letters that resolved themselves.

        Args:
            dry_run: change nothing, and return what would happen.

        Returns:
            For each task ``task_uuid``, ``namespace``, ``name``, ``state`` (before), ``reason``,
            ``time_in_state_minutes``, ``threshold_minutes`` and ``action``: ``transitioned_to_dlq_and_error``,
            ``moved_to_dlq_only``, ``transitioned_to_error_only``, ``reported_only``, or what would have been done:
            ``would_transition_to_dlq_and_error``, ``would_move_to_dlq_only``, ``would_transition_to_error_only``.
            Nothing while another process sweeps. Tasks that are only reported are counted by themselves, so that
            they do not keep others from being handled.
        """
        answer: list[dict[str, Any]] = []
        handled: Counter[bool] = Counter()
        seen: set[UUID] = set()
        async with self._view() as view:
            if not dry_run:
                if not await view.only_one():
                    return []
                await self._close_dead_letters(view)
            async for row, stale in self._stale_tasks(view):
                changes = stale.dead_letter or stale.closes
                if row["task_uuid"] in seen or handled[changes] == BATCH:
                    continue
                seen.add(row["task_uuid"])
                action = await self._act(row["task_uuid"], stale, dry_run=dry_run)
                if action is not None:
                    handled[changes] += 1
                    answer.append(_answer(row, stale, action))
                if handled[True] == BATCH:
                    break
        return answer

    async def _stale_tasks(self, view: StalenessView) -> AsyncIterator[tuple[asyncpg.Record, Stale]]:
        deadlines = await self._templates_with_deadline(view)
        if deadlines:
            async for found in self._judged(view, lambda after: view.overdue_tasks(deadlines, after, BATCH)):
                yield found
        handlers = await view.handlers_without_worker()
        if handlers:
            templates = [
                (template_id, min(policy.limits.values()), policy.closes)
                for template_id in await view.templates_of_handlers(list(handlers))
                for policy in [await self._policy(template_id)]
            ]
            async for found in self._judged(view, lambda after: view.idle_tasks(handlers, templates, after, BATCH)):
                yield found

    async def _judged(
        self, view: StalenessView, page_after: Callable[[UUID | None], Awaitable[list[UUID]]]
    ) -> AsyncIterator[tuple[asyncpg.Record, Stale]]:
        """Yield which of the tasks that are found page by page are stale."""
        page = await page_after(None)
        while page:
            for row, facts in facts_of(await view.task_facts(page)):
                stale = staleness.judge(facts, await self._policy(row["template_id"]))
                if stale is not None:
                    yield row, stale
            page = await page_after(page[-1]) if len(page) == BATCH else []

    async def _act(self, task_uuid: UUID, stale: Stale, *, dry_run: bool) -> str | None:
        """Do what follows from a task being stale; return it, or None if the task is not stale any more."""
        if dry_run:
            return _ACTIONS_OF_DRY_RUN[stale.dead_letter, stale.closes]
        noted = False
        async with self._view() as view:
            await view.freeze(task_uuid)
            for row, facts in facts_of(await view.task_facts([task_uuid])):
                if staleness.judge(facts, await self._policy(row["template_id"])) is None:
                    return None
            if stale.dead_letter:
                if stale.closes:  # a task has one open entry: the last reason takes the place of those before
                    await view.close_failures(task_uuid, _ACTOR, stale.sentence)
                noted = await view.add_dead_letter(task_uuid, stale.reason, _minutes(stale), _metadata(stale))
        if stale.closes:
            try:
                await self._fail_task(task_uuid, stale.sentence)
            except IllegalMoveError:
                return None
            async with self._view() as view:
                await view.close_failures(task_uuid, _ACTOR, stale.sentence)
        action = _ACTIONS[noted, stale.closes]
        log.warning("task_stale", task_uuid=str(task_uuid), reason=stale.sentence, action=action)
        return action

    async def _close_dead_letters(self, view: StalenessView) -> None:
        task_uuids = await view.dead_letters_to_close(_CLOSED_AT_ONCE)
        if task_uuids:
            async with self._view() as own:
                await own.close_dead_letters(task_uuids, _ACTOR, "the task has ended or gone on since")
            log.info("dead_letters_closed", count=len(task_uuids))

    async def _templates_with_deadline(self, view: StalenessView) -> list[tuple[int, int, bool]]:
        self._has_deadline |= await view.templates_with_deadline(list(self._has_deadline))
        with_deadline = [template_id for template_id, has in self._has_deadline.items() if has]
        policies = [(template_id, await self._policy(template_id)) for template_id in with_deadline]
        return [(template_id, policy.deadline, policy.closes) for template_id, policy in policies if policy.deadline]

    async def _policy(self, template_id: int) -> Policy:
        return staleness.policy_of((await self._plans.get(template_id)).template.lifecycle)

    def _view(self) -> AbstractAsyncContextManager[StalenessView]:
        return staleness_view(self._store.database, self._silence)


def _answer(row: asyncpg.Record, stale: Stale, action: str) -> dict[str, Any]:
    return {
        "task_uuid": str(row["task_uuid"]),
        "namespace": row["namespace"],
        "name": row["name"],
        "state": row["state"],
        "reason": stale.reason.value,
        **_minutes(stale),
        "action": action,
    }


def _minutes(stale: Stale) -> dict[str, Any]:
    return {"time_in_state_minutes": stale.minutes, "threshold_minutes": stale.limit}


def _metadata(stale: Stale) -> dict[str, Any]:
    callables = {"callables": list(stale.callables)} if stale.callables else {}
    return {"detection_method": stale.detection_method, **_minutes(stale), **callables}
