"""Worker processes as rows."""

from collections.abc import Sequence

import asyncpg

from tasker_core.store import queries
from tasker_core.store.database import Database

_STATEMENTS = queries.load("worker_list")


async def workers(
    database: Database, *, silence: float, include_gone: bool, within: Sequence[str] | None, limit: int
) -> Sequence[asyncpg.Record]:
    """Return worker processes, those seen last first.

    Args:
        database: where to look.
        silence: seconds without a sign of life after which a worker is not live.
        include_gone: whether to return those, too, that stopped or are silent.
        within: only those that take steps from nowhere but these namespaces; all if None.
        limit: how many at most.
    """
    return await database.fetch(_STATEMENTS["workers"], silence, include_gone, within, limit)
