"""What the database knows about stale tasks, and what is noted about them."""

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from tasker_core import serialization
from tasker_core.store import queries
from tasker_core.store.database import Database

_STALENESS = queries.load("staleness")
_OPERATIONS = queries.load("operations")
_DEAD_LETTERS = queries.load("dead_letters")


class StalenessView:
    """The verbs of a sweep, on one connection and in one transaction; see :func:`staleness_view`.

    Args:
        connection: in a transaction.
        silence: seconds after which a worker that was not seen does not count as live.
    """

    def __init__(self, connection: "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]", silence: float) -> None:
        self._connection = connection
        self._silence = silence

    async def only_one(self) -> bool:
        """Return whether no other transaction sweeps; then none does until this one ends."""
        return bool(await self._connection.fetchval(_STALENESS["try_to_sweep"]))

    async def handlers_without_worker(self) -> dict[str, datetime | None]:
        """Return the handlers that steps wait for and no live worker has, with when one that had was last seen."""
        rows = await self._connection.fetch(_STALENESS["handlers_without_worker"], self._silence)
        return {row["callable"]: row["worker_seen_at"] for row in rows}

    async def templates_of_handlers(self, callables: Sequence[str]) -> list[int]:
        """Return the ids of the templates with steps for these handlers."""
        rows = await self._connection.fetch(_STALENESS["templates_of_handlers"], callables)
        return [row["template_id"] for row in rows]

    async def templates_with_deadline(self, known: Sequence[int]) -> dict[int, bool]:
        """Return for each template that is not known yet whether it limits the duration of its tasks."""
        rows = await self._connection.fetch(_STALENESS["templates_with_deadline"], known)
        return {row["template_id"]: row["has_deadline"] for row in rows}

    async def idle_tasks(
        self,
        handlers: Mapping[str, datetime | None],
        templates: Sequence[tuple[int, int, bool]],
        after: UUID | None,
        limit: int,
    ) -> list[UUID]:
        """Return tasks that may be stale for lack of workers, oldest first.

        Args:
            handlers: those without a worker, with when one was last seen.
            templates: id, shortest limit in minutes, and whether a stale task ends.
            after: the last task of the page before.
            limit: length of a page.
        """
        rows = await self._connection.fetch(
            _STALENESS["idle_tasks"], list(handlers), list(handlers.values()), *_columns(templates), after, limit
        )
        return [row["task_uuid"] for row in rows]

    async def overdue_tasks(
        self, templates: Sequence[tuple[int, int, bool]], after: UUID | None, limit: int
    ) -> list[UUID]:
        """Return tasks that are past their deadline, oldest first; as :meth:`idle_tasks`."""
        rows = await self._connection.fetch(_STALENESS["overdue_tasks"], *_columns(templates), after, limit)
        return [row["task_uuid"] for row in rows]

    async def task_facts(self, task_uuids: Sequence[UUID]) -> Sequence[asyncpg.Record]:
        """Return how tasks stand, in their order, one row for each kind of their steps in the queue."""
        rows: Sequence[asyncpg.Record] = await self._connection.fetch(
            _STALENESS["task_facts"], task_uuids, self._silence
        )
        return rows

    async def lifecycles(self, namespaces: Sequence[str] | None) -> dict[int, str | None]:
        """Return the ``lifecycle`` of each template, as JSON; of all namespaces if None."""
        rows = await self._connection.fetch(_STALENESS["lifecycles"], namespaces)
        return {row["template_id"]: row["lifecycle"] for row in rows}

    async def queued_tasks(self, templates: Sequence[int], after: UUID | None, limit: int) -> list[UUID]:
        """Return tasks of these templates with steps in the queue, oldest first."""
        rows = await self._connection.fetch(_STALENESS["queued_tasks"], templates, after, limit)
        return [row["task_uuid"] for row in rows]

    async def freeze(self, task_uuid: UUID) -> None:
        """Hold a task still until this transaction ends."""
        await self._connection.execute(_OPERATIONS["freeze_task"], task_uuid)
        await self._connection.execute(_OPERATIONS["freeze_queue"], task_uuid)

    async def add_dead_letter(
        self, task_uuid: UUID, reason: str, snapshot: Mapping[str, Any], metadata: Mapping[str, Any]
    ) -> bool:
        """Note that a task needs a person; return False if that was noted already."""
        details = serialization.dumps(snapshot), serialization.dumps(metadata)
        entry = await self._connection.fetchval(_DEAD_LETTERS["add_dead_letter"], task_uuid, reason, *details)
        return entry is not None

    async def close_failures(self, task_uuid: UUID, actor: str, notes: str) -> None:
        """Close what was noted about failures of a task that ends for another reason."""
        await self._connection.execute(_STALENESS["close_failures"], task_uuid, actor, notes)

    async def dead_letters_to_close(self, limit: int) -> list[UUID]:
        """Return tasks that were noted for lack of workers and have ended or gone on since."""
        rows = await self._connection.fetch(_STALENESS["dead_letters_to_close"], limit)
        return [row["task_uuid"] for row in rows]

    async def close_dead_letters(self, task_uuids: Sequence[UUID], actor: str, notes: str) -> None:
        """Close what was noted about tasks for lack of workers, and note which of them are blocked by failures."""
        await self._connection.execute(_STALENESS["lock_tasks"], task_uuids)
        await self._connection.execute(_STALENESS["close_dead_letters"], task_uuids, actor, notes)
        await self._connection.execute(_STALENESS["note_failures"], task_uuids)


@contextlib.asynccontextmanager
async def staleness_view(database: Database, silence: float) -> AsyncIterator[StalenessView]:
    """Open a transaction for the verbs of a sweep; an exception rolls it back."""
    async with database.transaction() as connection:
        yield StalenessView(connection, silence)


def _columns(templates: Sequence[tuple[int, int, bool]]) -> tuple[list[int], list[int], list[bool]]:
    return [t[0] for t in templates], [t[1] for t in templates], [t[2] for t in templates]
