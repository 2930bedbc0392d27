"""State changes as rows, in an order that can be resumed."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import asyncpg

from tasker_core.store import queries
from tasker_core.store.database import Database

_FEED = queries.load("feed")


async def horizon(database: Database) -> datetime:
    """Return a time before which nothing more will appear to statements that start from now on.

    It needs to see when the transactions of all Tasker processes began: they must connect as one role, or as members
    of ``pg_read_all_stats``.
    """
    moment: datetime = await database.fetch_value(_FEED["horizon"])
    return moment


async def clock(database: Database) -> datetime:
    """Return the time on the database's clock."""
    moment: datetime = await database.fetch_value(_FEED["clock"])
    return moment


async def changes(
    database: Database, after: tuple[datetime, int, int], until: datetime, limit: int
) -> Sequence[asyncpg.Record]:
    """Return ends of attempts and changes of tasks' states after a position and before a time, oldest first."""
    return await database.fetch(_FEED["changes"], *after, until, limit)


async def task_identity(database: Database, task_uuid: UUID) -> asyncpg.Record | None:
    """Return the namespace and name of a task; None if there is no such task."""
    return await database.fetch_row(_FEED["task_identity"], task_uuid)


async def task_changes(
    database: Database, task_uuid: UUID, since: datetime, before: datetime, limit: int
) -> Sequence[asyncpg.Record]:
    """Return how a task stands, and the rows of its history from a time on; see the statement."""
    return await database.fetch(_FEED["task_changes"], task_uuid, since, before, limit)


async def task_marks(database: Database, task_uuids: Sequence[UUID]) -> dict[UUID, str]:
    """Return a text for each task that changes whenever its history does."""
    return {row[0]: row[1] for row in await database.fetch(_FEED["task_marks"], task_uuids)}
