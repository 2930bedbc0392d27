"""What is noted about tasks that need a person."""

from collections.abc import Sequence
from uuid import UUID

import asyncpg

from tasker_core.store import queries
from tasker_core.store.database import Database

_STATEMENTS = queries.load("dead_letters")


async def find(
    database: Database,
    *,
    status: str | None = None,
    reason: str | None = None,
    entry_uuid: UUID | None = None,
    task_uuid: UUID | None = None,
    namespaces: Sequence[str] | None = None,
    before: UUID | None = None,
    offset: int = 0,
    limit: int,
) -> Sequence[asyncpg.Record]:
    """Return the entries that pass all filters, newest first; ``before`` is the last entry of the page before."""
    return await database.fetch(
        _STATEMENTS["find_dead_letters"], status, reason, entry_uuid, task_uuid, namespaces, before, offset, limit
    )


async def count(database: Database, namespaces: Sequence[str] | None) -> Sequence[asyncpg.Record]:
    """Return the numbers of entries by reason; of all namespaces if None."""
    return await database.fetch(_STATEMENTS["count_dead_letters"], namespaces)


async def to_investigate(database: Database, namespaces: Sequence[str] | None, limit: int) -> Sequence[asyncpg.Record]:
    """Return open entries, the most pressing ones first; of all namespaces if None."""
    return await database.fetch(_STATEMENTS["dead_letters_to_investigate"], namespaces, limit)


async def update(
    database: Database,
    entry_uuid: UUID,
    *,
    status: str | None,
    resolved_by: str | None,
    notes: str | None,
    metadata: str | None,
) -> bool:
    """Note what is known about an entry; what is None stays. ``metadata`` is JSON.

    Returns:
        Whether that was done; False if there is no such entry, or if it is closed and ``status`` would open it.
    """
    return bool(
        await database.fetch(_STATEMENTS["update_dead_letter"], entry_uuid, status, resolved_by, notes, metadata)
    )
