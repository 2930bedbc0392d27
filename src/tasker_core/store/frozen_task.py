"""A task that nothing else moves while somebody decides about it."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg

from tasker_core import serialization
from tasker_core.store import queries
from tasker_core.store.database import Database

_OPERATIONS = queries.load("operations")
_STEPS = queries.load("steps")
_DEAD_LETTERS = queries.load("dead_letters")
_WORKERS = queries.load("workers")


@dataclass(frozen=True, slots=True)
class Audit:
    """What history says about a change: the verb, who did it, and why.

    Raises:
        SerializationError: the actor or the reason cannot be stored.
    """

    verb: str
    actor: str
    reason: str | None = None

    def __post_init__(self) -> None:
        serialization.dumps([self.actor, self.reason])


@dataclass(frozen=True, slots=True)
class FrozenStep:
    """A step of a frozen task."""

    ordinal: int
    template_ordinal: int
    name: str
    state: str


@dataclass(frozen=True, slots=True)
class FrozenBatch:
    """The batch workers of one mould, with how many more may be released just now."""

    mould: int
    first_ordinal: int
    worker_count: int
    free_slots: int


@dataclass(frozen=True, slots=True)
class StepMove:
    """A step that is put into another state; ``unmet`` are its unmet dependencies if that is ``pending``."""

    step: FrozenStep
    to_state: str
    unmet: int = 0


@dataclass(frozen=True, slots=True)
class ReopenedBatch:
    """A batch some of whose workers start afresh.

    Attributes:
        mould: the mould of the batch.
        done: how many of them had been done.
        released: how many of them are enqueued at once.
        next_ordinal: the first of them that is not, if any.
    """

    mould: int
    done: int
    released: int
    next_ordinal: int | None


class FrozenTask:
    """A task whose row and queue rows are locked, and the changes that can be made to it.

    All of it is one transaction; see :func:`frozen_task`.
    """

    def __init__(
        self,
        connection: "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]",
        task_uuid: UUID,
        row: asyncpg.Record,
        steps: Sequence[FrozenStep],
        batches: Sequence[FrozenBatch],
    ) -> None:
        self._connection = connection
        self.task_uuid = task_uuid
        self.state: str = row["state"]
        self.closed_as: str | None = row["closed_as"]
        self.is_paused: bool = row["paused_at"] is not None
        self.steps = steps
        self.batches = batches

    async def structure(self, decisions: Sequence[int]) -> asyncpg.Record:
        """Return which steps of the template the task has; ``decisions`` are the ordinals of the decision steps."""
        row = await self._connection.fetchrow(_STEPS["task_structures"], [self.task_uuid], decisions)
        assert row is not None
        return row

    async def move_steps(self, moves: Sequence[StepMove], audit: Audit, *, clear_checkpoints: bool = False) -> None:
        """Put steps into other states; what runs loses its lease, what starts afresh has no attempts counted."""
        if moves:
            await self._connection.execute(
                _OPERATIONS["change_steps"],
                self.task_uuid,
                [move.step.ordinal for move in moves],
                [move.to_state for move in moves],
                [move.unmet for move in moves],
                clear_checkpoints,
                audit.verb,
                audit.actor,
                audit.reason,
            )

    async def remove_steps(self, ordinals: Sequence[int], moulds: Sequence[int], audit: Audit) -> None:
        """Remove steps, and the batches of these moulds."""
        await self._connection.execute(
            _OPERATIONS["remove_steps"], self.task_uuid, ordinals, moulds, audit.verb, audit.actor, audit.reason
        )
        await self._connection.execute(_OPERATIONS["recount_steps"], self.task_uuid)

    async def reopen_batch(self, batch: ReopenedBatch) -> None:
        """Take batch workers that start afresh into account."""
        await self._connection.execute(
            _OPERATIONS["reopen_batch"], self.task_uuid, batch.mould, batch.done, batch.released, batch.next_ordinal
        )

    async def close(self, state: str | None) -> None:
        """End the task in a state that its steps do not imply, or open it again (None)."""
        await self._connection.execute(_OPERATIONS["close_task"], self.task_uuid, state)

    async def count_rerun(self) -> None:
        """Make results that any process has cached count as out of date."""
        await self._connection.execute(_OPERATIONS["count_rerun"], self.task_uuid)

    async def pause(self, audit: Audit) -> None:
        """Keep the task's steps from being claimed."""
        await self._connection.execute(_OPERATIONS["pause_task"], self.task_uuid, audit.actor, audit.reason)

    async def resume(self) -> None:
        """Let the task's steps be claimed again."""
        await self._connection.execute(_OPERATIONS["resume_task"], self.task_uuid)

    async def end_step(
        self,
        step: FrozenStep,
        state: str,
        audit: Audit,
        *,
        result: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
        expansion: dict[str, Any] | None = None,
    ) -> None:
        """Record an end that an operator gives a step, with all that follows from it.

        The operator takes a lease of the step and reports its end, as a worker does.
        """
        operator = await self._connection.fetchval(_WORKERS["register_operator"], audit.actor)
        lease_id = await self._connection.fetchval(_OPERATIONS["take_step"], self.task_uuid, step.ordinal, operator)
        await self._connection.execute(_OPERATIONS["recount_steps"], self.task_uuid)
        is_batch_worker = step.ordinal != step.template_ordinal
        if is_batch_worker and step.state in ("pending", "error"):
            # Its end will free a slot that it does not hold.
            await self.reopen_batch(ReopenedBatch(step.template_ordinal, done=0, released=1, next_ordinal=None))
        expansions = [expansion | {"lease_id": lease_id}] if expansion is not None else None
        await self._connection.fetch(
            _OPERATIONS["record_operation"],
            operator,
            self.task_uuid,
            step.ordinal,
            lease_id,
            state,
            serialization.dumps(result) if result is not None else None,
            serialization.dumps(metadata) if metadata else None,
            is_batch_worker,
            serialization.dumps(expansions) if expansions else None,
            audit.verb,
            audit.actor,
            audit.reason,
            step.state,
        )

    async def add_transition(self, audit: Audit) -> str:
        """Note in history what was done to the task as a whole; return the state that it has now."""
        state: str = await self._connection.fetchval(
            _OPERATIONS["add_task_transition"], self.task_uuid, self.state, audit.verb, audit.actor, audit.reason
        )
        return state

    async def resolve_dead_letters(self, status: str, audit: Audit, *, ordinals: Sequence[int] | None) -> None:
        """Close the task's open dead letters, or those of some steps and what follows from them for the task."""
        await self._connection.execute(
            _DEAD_LETTERS["resolve_dead_letters_of_task"],
            self.task_uuid,
            ordinals,
            status,
            audit.actor,
            audit.reason or audit.verb,
        )

    async def add_dead_letters(self, failed: Sequence[int]) -> None:
        """Note which failures need a person; ``failed`` are the ordinals of steps in error."""
        await self._connection.execute(_DEAD_LETTERS["add_dead_letters"], self.task_uuid, failed)


@contextlib.asynccontextmanager
async def frozen_task(database: Database, task_uuid: UUID) -> AsyncIterator[FrozenTask | None]:
    """Hold a task still for one transaction; None if there is no such task. An exception rolls it back."""
    async with database.transaction() as connection:
        row = await connection.fetchrow(_OPERATIONS["freeze_task"], task_uuid)
        if row is None:
            yield None
            return
        await connection.fetch(_OPERATIONS["freeze_queue"], task_uuid)
        steps = [FrozenStep(*step) for step in await connection.fetch(_OPERATIONS["frozen_steps"], task_uuid)]
        batches = [FrozenBatch(*batch) for batch in await connection.fetch(_OPERATIONS["frozen_batches"], task_uuid)]
        yield FrozenTask(connection, task_uuid, row, steps, batches)
