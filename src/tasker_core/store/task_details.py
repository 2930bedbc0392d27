"""What is read of a task beyond itself and its steps."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import asyncpg

from tasker_core.store import queries
from tasker_core.store.database import Database

_DETAILS = queries.load("task_details")


async def created_at(database: Database, task_uuid: UUID) -> datetime | None:
    """Return when a task was created, by the database's clock; None if there is no such task."""
    moment: datetime | None = await database.fetch_value(_DETAILS["created_at"], task_uuid)
    return moment


async def attempt_durations(database: Database, task_uuid: UUID, ordinal: int | None = None) -> dict[int, int | None]:
    """Return how many milliseconds the last attempts of a task's steps took, by the ordinals of the steps."""
    rows = await database.fetch(_DETAILS["attempt_durations"], task_uuid, ordinal)
    return {row["ordinal"]: row["execution_time_ms"] for row in rows}


async def audit_of_step(database: Database, task_uuid: UUID, ordinal: int) -> Sequence[asyncpg.Record]:
    """Return the ended attempts of a step and what was done to it by hand, newest first."""
    return await database.fetch(_DETAILS["audit_of_step"], task_uuid, ordinal)


async def dead_letter_of_task(database: Database, task_uuid: UUID) -> asyncpg.Record | None:
    """Return what was last noted that a task needs a person for, or None."""
    return await database.fetch_row(_DETAILS["dead_letter_of_task"], task_uuid)
