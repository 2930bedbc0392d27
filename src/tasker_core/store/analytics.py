"""Numbers about the past, counted by the database. What is limited to namespaces is not if they are None."""

from collections.abc import Sequence

import asyncpg

from tasker_core.store import queries
from tasker_core.store.database import Database

_STATEMENTS = queries.load("analytics")


async def performance(database: Database, hours: int, namespaces: Sequence[str] | None) -> asyncpg.Record:
    """Return what the last hours brought, in one row."""
    (row,) = await database.fetch(_STATEMENTS["performance"], hours, namespaces)
    return row


async def slow_steps(
    database: Database, limit: int, min_executions: int, namespaces: Sequence[str] | None
) -> Sequence[asyncpg.Record]:
    """Return the steps of templates that took longest on average in the last 24 hours."""
    return await database.fetch(_STATEMENTS["slow_steps"], limit, min_executions, namespaces)


async def slow_tasks(
    database: Database, limit: int, min_executions: int, namespaces: Sequence[str] | None
) -> Sequence[asyncpg.Record]:
    """Return the templates whose tasks took longest on average in the last 24 hours."""
    return await database.fetch(_STATEMENTS["slow_tasks"], limit, min_executions, namespaces)


async def tasks_by_state(database: Database, namespaces: Sequence[str] | None) -> dict[str, int]:
    """Return how many tasks are in each state that any is in."""
    rows = await database.fetch(_STATEMENTS["tasks_by_state"], namespaces)
    return {row["state"]: row["number"] for row in rows}


async def steps_by_state(database: Database, namespaces: Sequence[str] | None) -> dict[str, int]:
    """Return how many steps are in each state that any is in."""
    rows = await database.fetch(_STATEMENTS["steps_by_state"], namespaces)
    return {row["state"]: row["number"] for row in rows}


def pool_utilization(database: Database) -> float:
    """Return which share of the open connections of this process is in use."""
    pool = database.pool
    size = pool.get_size()
    return (size - pool.get_idle_size()) / size if size else 0.0
