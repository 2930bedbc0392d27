"""The store: every database verb of the engine.

Rows go in and out as they are; decisions are made elsewhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from uuid import UUID

import asyncpg

from tasker_core import serialization
from tasker_core.states import StepState
from tasker_core.step_source import LeaseKey
from tasker_core.store import queries
from tasker_core.store.database import Database

READY_CHANNEL: Final = "tasker_ready"
RESTED_CHANNEL: Final = "tasker_rested"

_Value = TypeVar("_Value")

_TEMPLATES = queries.load("templates")
_TASKS = queries.load("tasks")
_STEPS = queries.load("steps")
_QUEUE = queries.load("queue")
_WORKERS = queries.load("workers")


@dataclass(frozen=True, slots=True)
class NewTemplate:
    """A resolved template to store. ``definition`` is JSON text; ``digest`` names its content."""

    digest: str
    namespace: str
    name: str
    version: str
    environment: str | None
    definition: str
    steps: Sequence["NewTemplateStep"]


@dataclass(frozen=True, slots=True)
class NewTemplateStep:
    """A step of a template to store; steps refer to each other by ordinal."""

    ordinal: int
    name: str
    callable: str
    max_attempts: int
    initial: bool
    dependencies: Sequence[int]
    dependents: Sequence[int]


@dataclass(frozen=True, slots=True)
class AttemptEnd:
    """The end of an attempt and the state that its step takes.

    Attributes:
        lease: the lease it ran under.
        state: ``complete``, ``waiting_for_retry`` or ``error``.
        delay: seconds until the next attempt, with ``waiting_for_retry``.
        result: JSON text, with ``complete``.
        metadata: JSON text or None.
        error: JSON text or None.
        execution_time_ms: how long the handler ran; None if it is unknown.
    """

    lease: LeaseKey
    state: StepState
    delay: float | None = None
    result: str | None = None
    metadata: str | None = None
    error: str | None = None
    execution_time_ms: int | None = None


@dataclass(frozen=True, slots=True)
class NewTask:
    """A task to create. ``context`` and ``tags`` are JSON text."""

    task_uuid: UUID
    context: str
    correlation_id: UUID
    parent_correlation_id: UUID | None = None
    priority: int = 0
    initiator: str | None = None
    source_system: str | None = None
    reason: str | None = None
    tags: str | None = None


@dataclass(frozen=True, slots=True)
class GrantedLease:
    """A lease, and the template that its step belongs to."""

    key: LeaseKey
    template_id: int


@dataclass(frozen=True, slots=True)
class ExpiredLease:
    """A lease that ended without a report, now held by the rescuer. ``holder`` is the lost worker's name."""

    key: LeaseKey
    template_id: int
    holder: str | None


@dataclass(frozen=True, slots=True)
class RecordAnswer:
    """What a batch of recorded attempts did.

    Attributes:
        refused: reports whose lease was lost.
        leased: freed steps leased to the reporting worker.
        queued: how many freed steps any worker may claim.
        rested: tasks that now have nothing ready and nothing running, with their state.
    """

    refused: frozenset[LeaseKey]
    leased: Sequence[GrantedLease]
    queued: int
    rested: Sequence[tuple[UUID, str]]


class Store:
    """The engine's view of the database."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def save_template(self, template: NewTemplate) -> int:
        """Store a template and its graph unless equal content is stored already; return its id."""
        found = await self.database.fetch_value(_TEMPLATES["template_id_by_digest"], template.digest)
        if found is not None:
            return int(found)
        steps = template.steps
        async with self.database.transaction() as connection:
            template_id = await connection.fetchval(
                _TEMPLATES["insert_template"],
                template.digest,
                template.namespace,
                template.name,
                template.version,
                template.environment,
                template.definition,
            )
            if template_id is None:  # another process was faster
                return int(await connection.fetchval(_TEMPLATES["template_id_by_digest"], template.digest))
            await connection.execute(
                _TEMPLATES["insert_template_steps"],
                template_id,
                [step.ordinal for step in steps],
                [step.name for step in steps],
                [step.callable for step in steps],
                [step.max_attempts for step in steps],
                [step.initial for step in steps],
                [serialization.dumps(step.dependencies) for step in steps],
                [serialization.dumps(step.dependents) for step in steps],
            )
        return int(template_id)

    async def load_template(self, template_id: int) -> tuple[dict[str, Any], str | None]:
        """Return a stored template's definition and the environment it was resolved for."""
        row = await self.database.fetch_row(_TEMPLATES["template_by_id"], template_id)
        if row is None:
            raise LookupError(f"no template has the id {template_id}")
        return serialization.loads(row["definition"]), row["environment"]

    async def create_tasks(self, template_id: int, tasks: Sequence[NewTask]) -> None:
        """Create tasks of one template, all or none."""
        await self.database.fetch(
            _TASKS["create_tasks"],
            template_id,
            [task.task_uuid for task in tasks],
            [task.context for task in tasks],
            [task.priority for task in tasks],
            [task.correlation_id for task in tasks],
            [task.parent_correlation_id for task in tasks],
            [task.initiator for task in tasks],
            [task.source_system for task in tasks],
            [task.reason for task in tasks],
            [task.tags for task in tasks],
        )

    async def claim_steps(
        self, worker_id: int, callables: Sequence[str], limit: int, lease_seconds: float
    ) -> Sequence[GrantedLease]:
        """Lease up to ``limit`` ready steps to a worker."""
        rows = await self.database.fetch(_STEPS["claim_steps"], worker_id, callables, limit, lease_seconds)
        return _granted(rows)

    async def record_attempts(
        self,
        worker_id: int,
        ends: Sequence[AttemptEnd],
        *,
        callables: Sequence[str] = (),
        want: int = 0,
        lease_seconds: float = 0.0,
    ) -> RecordAnswer:
        """Record the ends of attempts and lease up to ``want`` of the steps that they freed."""
        rows = await self.database.fetch(
            _STEPS["record_attempts"],
            worker_id,
            [end.lease.task_uuid for end in ends],
            [end.lease.ordinal for end in ends],
            [end.lease.attempt for end in ends],
            [end.state.value for end in ends],
            [end.result for end in ends],
            _sparse([end.metadata for end in ends]),
            _sparse([end.error for end in ends]),
            _sparse([end.delay for end in ends]),
            [end.execution_time_ms for end in ends],
            callables,
            want,
            lease_seconds,
        )
        refused: set[LeaseKey] = set()
        leased: list[GrantedLease] = []
        rested: list[tuple[UUID, str]] = []
        queued = 0
        for kind, task_uuid, ordinal, attempt, template_id, detail in rows:
            match kind:
                case "leased":
                    leased.append(GrantedLease(LeaseKey(task_uuid, ordinal, attempt), template_id))
                case "queued":
                    queued += 1
                case "rested":
                    rested.append((task_uuid, detail))
                case _:
                    refused.add(LeaseKey(task_uuid, ordinal, attempt))
        return RecordAnswer(frozenset(refused), leased, queued, rested)

    async def task_facts(self, task_uuids: Sequence[UUID]) -> Sequence[asyncpg.Record]:
        """Return what steps see of their tasks."""
        return await self.database.fetch(_TASKS["task_facts"], task_uuids)

    async def step_results(self, wanted: Sequence[tuple[UUID, int]]) -> Sequence[asyncpg.Record]:
        """Return the results of steps named by task and ordinal, as far as they are satisfied."""
        return await self.database.fetch(
            _STEPS["step_results"], [task for task, _ in wanted], [ordinal for _, ordinal in wanted]
        )

    async def renew_leases(
        self, worker_id: int, leases: Sequence[LeaseKey], lease_seconds: float
    ) -> frozenset[LeaseKey]:
        """Extend leases; return those that still held."""
        rows = await self.database.fetch(_QUEUE["renew_leases"], worker_id, *_columns(leases), lease_seconds)
        return frozenset(LeaseKey(*row) for row in rows)

    async def release_leases(self, worker_id: int, leases: Sequence[LeaseKey]) -> None:
        """Give leases back unused."""
        await self.database.fetch(_QUEUE["release_leases"], worker_id, *_columns(leases))

    async def leases_of_worker(self, worker_id: int) -> Sequence[GrantedLease]:
        """Return every lease that a worker holds."""
        return _granted(await self.database.fetch(_QUEUE["leases_of_worker"], worker_id))

    async def take_expired_leases(self, rescuer_id: int, limit: int, lease_seconds: float) -> Sequence[ExpiredLease]:
        """Move up to ``limit`` expired leases to the rescuer."""
        rows = await self.database.fetch(_QUEUE["take_expired_leases"], rescuer_id, limit, lease_seconds)
        return [
            ExpiredLease(LeaseKey(row["task_uuid"], row["ordinal"], row["attempt"]), row["template_id"], row["holder"])
            for row in rows
        ]

    async def seconds_to_next_due(self, callables: Sequence[str]) -> float | None:
        """Return the seconds until the earliest waiting retry is due; None if none waits."""
        seconds: float | None = await self.database.fetch_value(_QUEUE["seconds_to_next_due"], callables)
        return seconds

    async def notify(self, channels: Sequence[str]) -> None:
        """Wake the listeners of these channels in other processes."""
        await self.database.notify(_QUEUE["notify"], channels)

    async def register_worker(self, name: str, hostname: str, pid: int, callables: Sequence[str]) -> int:
        """Record a worker process; return the id that its leases carry."""
        return int(await self.database.fetch_value(_WORKERS["register_worker"], name, hostname, pid, callables))

    async def worker_seen(self, worker_id: int) -> None:
        """Note that a worker is alive."""
        await self.database.fetch(_WORKERS["worker_seen"], worker_id)

    async def worker_stopped(self, worker_id: int) -> None:
        """Note that a worker ended in good order."""
        await self.database.fetch(_WORKERS["worker_stopped"], worker_id)

    async def task(self, task_uuid: UUID) -> asyncpg.Record | None:
        """Return one task for display, or None."""
        return await self.database.fetch_row(_TASKS["task"], task_uuid)

    async def task_states(self, task_uuids: Sequence[UUID]) -> dict[UUID, str]:
        """Return the states of tasks; unknown tasks are left out."""
        return {row[0]: row[1] for row in await self.database.fetch(_TASKS["task_states"], task_uuids)}

    async def list_tasks(
        self,
        *,
        namespace: str | None = None,
        name: str | None = None,
        state: str | None = None,
        before: UUID | None = None,
        limit: int = 50,
    ) -> Sequence[asyncpg.Record]:
        """Return tasks, newest first; ``before`` is the last task of the page before."""
        return await self.database.fetch(_TASKS["list_tasks"], namespace, name, state, before, limit)

    async def steps_of_task(self, task_uuid: UUID) -> Sequence[asyncpg.Record]:
        """Return all steps of a task for display, in template order."""
        return await self.database.fetch(_STEPS["steps_of_task"], task_uuid)

    async def step_states(self, task_uuid: UUID) -> Sequence[asyncpg.Record]:
        """Return the states of a task's steps, cheap enough to poll."""
        return await self.database.fetch(_STEPS["step_states"], task_uuid)

    async def task_history(self, task_uuid: UUID) -> Sequence[asyncpg.Record]:
        """Return the state changes of a task itself, oldest first."""
        return await self.database.fetch(_TASKS["task_history"], task_uuid)

    async def step_history(self, task_uuid: UUID) -> Sequence[asyncpg.Record]:
        """Return the attempts of a task's steps, oldest first."""
        return await self.database.fetch(_STEPS["step_history"], task_uuid)


def _sparse(values: list[_Value | None]) -> list[_Value | None]:
    """Return no values instead of only nulls: unnest fills up with nulls, and encoding costs time."""
    return values if any(value is not None for value in values) else []


def _granted(rows: Sequence[asyncpg.Record]) -> list[GrantedLease]:
    return [
        GrantedLease(LeaseKey(task_uuid, ordinal, attempt), template_id)
        for task_uuid, ordinal, attempt, template_id in rows
    ]


def _columns(leases: Sequence[LeaseKey]) -> tuple[list[UUID], list[int], list[int]]:
    return [k.task_uuid for k in leases], [k.ordinal for k in leases], [k.attempt for k in leases]
