"""What the database knows about why a task's steps do or do not run."""

from collections.abc import Sequence
from uuid import UUID

import asyncpg

from tasker_core.store import queries
from tasker_core.store.database import Database, translated

_EXPLAIN = queries.load("explain")


async def read_standing(
    database: Database, task_uuid: UUID, *, silence: float
) -> tuple[asyncpg.Record | None, Sequence[asyncpg.Record]]:
    """Return how a task and its steps stand at one moment; None for a task that is not there.

    Args:
        database: where.
        task_uuid: the task.
        silence: seconds after which a worker that was not seen does not count as live.
    """
    with translated():
        async with (
            database.pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            task = await connection.fetchrow(_EXPLAIN["task_standing"], task_uuid)
            steps = await connection.fetch(_EXPLAIN["step_standings"], task_uuid, silence)
    return task, steps
