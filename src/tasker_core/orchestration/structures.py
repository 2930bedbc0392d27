"""Which steps of their templates tasks have, as the planner wants it."""

from collections.abc import Sequence
from uuid import UUID

import asyncpg

from tasker_core.engine import expansion
from tasker_core.engine.expansion import Structure
from tasker_core.engine.planner import Plan
from tasker_core.store import Store


async def structures_of(store: Store, plan: Plan, task_uuids: Sequence[UUID]) -> dict[UUID, Structure]:
    """Return the structures of tasks of one template."""
    rows = await store.task_structures(task_uuids, plan.decisions)
    return {row["task_uuid"]: structure_from(plan, row) for row in rows}


async def structure_of(store: Store, plan: Plan, task_uuid: UUID) -> Structure:
    """Return the structure of one task."""
    return (await structures_of(store, plan, [task_uuid]))[task_uuid]


def structure_from(plan: Plan, row: asyncpg.Record) -> Structure:
    """Return a structure from a row of the database."""
    return Structure(
        existing=frozenset(row["existing"]),
        chosen=expansion.decided(plan, row["decided"]),
        moulds=frozenset(row["moulds"]),
        revision=row["revision"],
    )
