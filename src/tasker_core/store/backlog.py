"""What waits in the queue, counted in bounded time."""

from collections.abc import Sequence
from typing import Final

import asyncpg

from tasker_core.store import queries
from tasker_core.store.database import Database

#: Pages of the queue that one look reads at most; 30,000 rows or so.
SAMPLE_PAGES: Final = 500

#: Pages for counting tasks, which takes two more look-ups a row.
_TASK_SAMPLE_PAGES: Final = 100

#: Dead letters that are counted at most.
MAX_COUNTED_DEAD_LETTERS: Final = 100_000

#: Tasks that are blocked by failures and are counted at most.
_MAX_COUNTED_BLOCKED: Final = 10_000

_BACKLOG = queries.load("backlog")


async def waiting(database: Database, silence: float, pages: int = SAMPLE_PAGES) -> Sequence[asyncpg.Record]:
    """Return how many steps wait in each namespace and for how long; see the statement.

    Args:
        database: where.
        silence: seconds after which a worker that was not seen does not count as live.
        pages: how much of the queue is read at most.
    """
    return await database.fetch(_BACKLOG["waiting"], pages, silence)


async def active_tasks(database: Database, pages: int = _TASK_SAMPLE_PAGES) -> Sequence[asyncpg.Record]:
    """Return the numbers of tasks that are not over by namespace and state; an estimate when the queue is long."""
    return await database.fetch(_BACKLOG["active_tasks"], pages, _MAX_COUNTED_BLOCKED)


async def standing(database: Database, silence: float) -> tuple[int, int]:
    """Return the numbers of live workers and of dead letters that nobody has closed."""
    row = await database.fetch_row(_BACKLOG["standing"], silence, MAX_COUNTED_DEAD_LETTERS)
    assert row is not None
    return row["live_workers"], row["pending_dead_letters"]
