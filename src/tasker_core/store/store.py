"""The store: every database verb of the engine.

Rows go in and out as they are; decisions are made elsewhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple, TypeVar
from uuid import UUID

import asyncpg

from tasker_core import serialization
from tasker_core.states import StepState
from tasker_core.step_source import LeaseKey
from tasker_core.store import queries
from tasker_core.store.database import Database
from tasker_core.store.errors import StoreError

READY_CHANNEL: Final = "tasker_ready"
RESTED_CHANNEL: Final = "tasker_rested"
CANCELLED_CHANNEL: Final = "tasker_cancelled"

#: SQLSTATE values that our own functions raise.
_DUPLICATE_IDENTITY = "TK001"
_STRUCTURE_CHANGED = "TK002"

_Value = TypeVar("_Value")

_TEMPLATES = queries.load("templates")
_TASKS = queries.load("tasks")
_STEPS = queries.load("steps")
_QUEUE = queries.load("queue")
_WORKERS = queries.load("workers")
_DEAD_LETTERS = queries.load("dead_letters")


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


class DuplicateIdentityError(StoreError):
    """Tasks of these identities exist already; ``twins`` maps each refused task's UUID to that of its twin."""

    def __init__(self, twins: dict[UUID, UUID]) -> None:
        super().__init__("a task with this identity already exists")
        self.twins = twins


class StructureChangedError(StoreError):
    """The steps of a task are not those that an expansion was worked out for."""


class AttemptEnd(NamedTuple):
    """The end of an attempt and the state that its step takes.

    Attributes:
        lease: the lease it ran under.
        state: ``complete``, ``waiting_for_retry`` or ``error``.
        delay: seconds until the next attempt, with ``waiting_for_retry``.
        result: JSON text, with ``complete``.
        metadata: JSON text or None.
        error: JSON text or None.
        execution_time_ms: how long the handler ran; None if it is unknown.
        expansion: what the step calls into being, as ``expand_tasks`` takes it; None for most.
    """

    lease: LeaseKey
    state: StepState
    delay: float | None = None
    result: str | None = None
    metadata: str | None = None
    error: str | None = None
    execution_time_ms: int | None = None
    expansion: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class NewTask:
    """A task to create.

    ``context`` and ``tags`` are JSON text; ``identity_hash`` is None for a task that is always its own.
    """

    task_uuid: UUID
    context: str
    correlation_id: UUID
    parent_correlation_id: UUID | None = None
    priority: int = 0
    initiator: str | None = None
    source_system: str | None = None
    reason: str | None = None
    tags: str | None = None
    requested_at: datetime | None = None
    identity_hash: bytes | None = None


@dataclass(frozen=True, slots=True)
class TaskFilter:
    """Which tasks are wanted: those that all the fields fit that are not None.

    Attributes:
        task_uuid: this one.
        namespaces: in one of these namespaces.
        name: of templates of this name.
        version: of templates of this version.
        states: in one of these states.
        tags: with all of these labels.
        correlation_id: with this correlation id.
        initiator: asked for by this one.
        source_system: asked for from there.
        created_after: created then or later.
        created_before: created earlier.
        context: whose context contains this, as PostgreSQL's ``@>`` takes it: all its keys with these values, at any
            depth; arrays contain all the elements, in any order.
    """

    task_uuid: UUID | None = None
    namespaces: Sequence[str] | None = None
    name: str | None = None
    version: str | None = None
    states: Sequence[str] | None = None
    tags: Sequence[str] | None = None
    correlation_id: UUID | None = None
    initiator: str | None = None
    source_system: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    context: Mapping[str, Any] | None = None

    def arguments(self) -> tuple[object, ...]:
        """Return the fields as the statements take them."""
        return (
            self.task_uuid,
            None if self.namespaces is None else list(self.namespaces),
            self.name,
            self.version,
            None if self.states is None else [str(state) for state in self.states],
            serialization.dumps(list(self.tags)) if self.tags else None,
            self.correlation_id,
            self.initiator,
            self.source_system,
            self.created_after,
            self.created_before,
            None if self.context is None else serialization.dumps(self.context),
        )


class GrantedLease(NamedTuple):
    """A lease.

    Attributes:
        key: names it.
        attempt: number of the attempt, from 1.
        template_id: the template that the step belongs to.
        detailed: whether the step has more to it than its template says; see ``Store.step_details``.
    """

    key: LeaseKey
    attempt: int
    template_id: int
    detailed: bool


@dataclass(frozen=True, slots=True)
class ExpiredLease:
    """A lease that ended without a report, now held by the rescuer. ``holder`` is the lost worker's name."""

    grant: GrantedLease
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

    async def create_tasks(
        self, template_id: int, namespace: str, tasks: Sequence[NewTask], *, refuse_duplicates: bool
    ) -> dict[UUID, UUID]:
        """Create tasks of one template, all or none.

        Returns:
            For each task that was not created because its identity is taken, the UUID of its existing twin.

        Raises:
            DuplicateIdentityError: an identity is taken, and duplicates are to be refused.
        """
        try:
            rows = await self._create_tasks(template_id, namespace, tasks, refuse_duplicates)
        except StoreError as error:
            cause = error.__cause__
            if isinstance(cause, asyncpg.PostgresError) and cause.sqlstate == _DUPLICATE_IDENTITY:
                twins = serialization.loads(cause.detail or "{}")
                raise DuplicateIdentityError({UUID(new): UUID(twin) for new, twin in twins.items()}) from error
            raise
        return {row["task_uuid"]: row["twin_uuid"] for row in rows}

    async def _create_tasks(
        self, template_id: int, namespace: str, tasks: Sequence[NewTask], refuse_duplicates: bool
    ) -> Sequence[asyncpg.Record]:
        return await self.database.fetch(
            _TASKS["create_tasks"],
            template_id,
            namespace,
            [task.task_uuid for task in tasks],
            [task.context for task in tasks],
            [task.priority for task in tasks],
            [task.correlation_id for task in tasks],
            [task.parent_correlation_id for task in tasks],
            [task.initiator for task in tasks],
            [task.source_system for task in tasks],
            [task.reason for task in tasks],
            [task.tags for task in tasks],
            [task.requested_at for task in tasks],
            [task.identity_hash for task in tasks],
            refuse_duplicates,
        )

    async def claim_steps(
        self,
        worker_id: int,
        callables: Sequence[str],
        limit: int,
        lease_seconds: float,
        namespaces: Sequence[str] | None = None,
    ) -> Sequence[GrantedLease]:
        """Lease up to ``limit`` ready steps to a worker; of tasks in these namespaces, if any are named."""
        rows = await self.database.fetch(_STEPS["claim_steps"], worker_id, callables, limit, lease_seconds, namespaces)
        return _granted(rows)

    async def record_attempts(
        self,
        worker_id: int,
        ends: Sequence[AttemptEnd],
        *,
        callables: Sequence[str] = (),
        want: int = 0,
        lease_seconds: float = 0.0,
        batch_workers: bool = False,
    ) -> RecordAnswer:
        """Record the ends of attempts and lease up to ``want`` of the steps that they freed.

        ``batch_workers`` says whether a batch worker is among them.

        Raises:
            StructureChangedError: an expansion was worked out for steps that the task no longer has; nothing was
                recorded.
        """
        expansions = [end.expansion for end in ends if end.expansion is not None]
        try:
            rows = await self._record_attempts(
                worker_id,
                ends,
                callables,
                want,
                lease_seconds,
                batch_workers,
                serialization.dumps(expansions) if expansions else None,
            )
        except StoreError as error:
            if getattr(error.__cause__, "sqlstate", None) == _STRUCTURE_CHANGED:
                raise StructureChangedError(str(error)) from error
            raise
        return _record_answer(rows)

    async def _record_attempts(
        self, worker_id: int, ends: Sequence[AttemptEnd], *arguments: object
    ) -> Sequence[asyncpg.Record]:
        return await self.database.fetch(
            _STEPS["record_attempts"],
            worker_id,
            [end.lease.task_uuid for end in ends],
            [end.lease.ordinal for end in ends],
            [end.lease.lease_id for end in ends],
            [end.state.value for end in ends],
            [end.result for end in ends],
            _sparse([end.metadata for end in ends]),
            _sparse([end.error for end in ends]),
            _sparse([end.delay for end in ends]),
            [end.execution_time_ms for end in ends],
            *arguments,
        )

    async def save_checkpoints(
        self, worker_id: int, checkpoints: Mapping[LeaseKey, str], *, want: int, lease_seconds: float
    ) -> RecordAnswer:
        """Keep the checkpoints (JSON text) of steps that go on; lease up to ``want`` of them to their worker anew."""
        rows = await self.database.fetch(
            _STEPS["save_checkpoints"],
            worker_id,
            *_columns(list(checkpoints)),
            list(checkpoints.values()),
            want,
            lease_seconds,
        )
        return _record_answer(rows)

    async def step_details(self, leases: Sequence[LeaseKey]) -> Sequence[asyncpg.Record]:
        """Return what these leased steps have that their template does not say."""
        return await self.database.fetch(_STEPS["step_details"], *_columns(leases)[:2])

    async def batch_results(self, wanted: Sequence[tuple[UUID, int]]) -> Sequence[asyncpg.Record]:
        """Return the results of the batch workers of moulds named by task and ordinal, as far as they are satisfied."""
        return await self.database.fetch(
            _STEPS["batch_results"], [task for task, _ in wanted], [mould for _, mould in wanted]
        )

    async def task_structures(self, task_uuids: Sequence[UUID], decisions: Sequence[int]) -> Sequence[asyncpg.Record]:
        """Return which steps of the template tasks have; ``decisions`` are the ordinals of the decision steps."""
        return await self.database.fetch(_STEPS["task_structures"], task_uuids, decisions)

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
        # In order, so that two who lock several rows of a task do not wait for each other.
        rows = await self.database.fetch(_QUEUE["renew_leases"], worker_id, *_columns(sorted(leases)), lease_seconds)
        return frozenset(LeaseKey(*row) for row in rows)

    async def release_leases(self, worker_id: int, leases: Sequence[LeaseKey]) -> None:
        """Give leases back unused."""
        await self.database.fetch(_QUEUE["release_leases"], worker_id, *_columns(leases))

    async def leases_of_worker(
        self, worker_id: int, wanted: Sequence[LeaseKey] | None = None
    ) -> Sequence[GrantedLease]:
        """Return every lease that a worker holds, or those of them that are wanted."""
        tasks, ordinals, _ = _columns(wanted) if wanted is not None else (None, None, None)
        grants = _granted(await self.database.fetch(_QUEUE["leases_of_worker"], worker_id, tasks, ordinals))
        return grants if wanted is None else [grant for grant in grants if grant.key in set(wanted)]

    async def take_expired_leases(self, rescuer_id: int, limit: int, lease_seconds: float) -> Sequence[ExpiredLease]:
        """Move up to ``limit`` expired leases to the rescuer."""
        rows = await self.database.fetch(_QUEUE["take_expired_leases"], rescuer_id, limit, lease_seconds)
        return [ExpiredLease(grant, row["holder"]) for grant, row in zip(_granted(rows), rows, strict=True)]

    async def seconds_to_next_due(
        self, callables: Sequence[str], namespaces: Sequence[str] | None = None
    ) -> float | None:
        """Return the seconds until the earliest waiting retry is due; None if none waits."""
        seconds: float | None = await self.database.fetch_value(_QUEUE["seconds_to_next_due"], callables, namespaces)
        return seconds

    async def notify(self, channels: Sequence[str]) -> None:
        """Wake the listeners of these channels in other processes."""
        await self.database.notify(_QUEUE["notify"], channels)

    async def register_worker(
        self,
        name: str,
        hostname: str,
        pid: int,
        callables: Sequence[str],
        *,
        namespaces: Sequence[str] | None = None,
        worker_uuid: UUID | None = None,
        subject: str | None = None,
        concurrency: int | None = None,
        sdk: str | None = None,
    ) -> int:
        """Record a worker process; return the id that its leases carry."""
        return int(
            await self.database.fetch_value(
                _WORKERS["register_worker"],
                name,
                hostname,
                pid,
                callables,
                namespaces,
                worker_uuid,
                subject,
                concurrency,
                sdk,
            )
        )

    async def change_worker(
        self, worker_id: int, callables: Sequence[str], namespaces: Sequence[str] | None, concurrency: int | None
    ) -> None:
        """Record what a worker takes from now on."""
        await self.database.fetch(_WORKERS["change_worker"], worker_id, callables, namespaces, concurrency)

    async def worker(self, worker_uuid: UUID) -> asyncpg.Record | None:
        """Return a worker, or None."""
        return await self.database.fetch_row(_WORKERS["worker"], worker_uuid)

    async def worker_seen(self, worker_id: int) -> None:
        """Note that a worker is alive."""
        await self.database.fetch(_WORKERS["worker_seen"], worker_id)

    async def worker_stopped(self, worker_id: int) -> None:
        """Note that a worker ended in good order."""
        await self.database.fetch(_WORKERS["worker_stopped"], worker_id)

    async def cancelled_steps(self, leases: Sequence[LeaseKey]) -> frozenset[LeaseKey]:
        """Return those of the leases whose steps were cancelled."""
        rows = await self.database.fetch(_WORKERS["cancelled_steps"], *_columns(leases)[:2])
        cancelled = {(row[0], row[1]) for row in rows}
        return frozenset(lease for lease in leases if lease[:2] in cancelled)

    async def task(self, task_uuid: UUID) -> asyncpg.Record | None:
        """Return one task for display, or None."""
        rows = await self.list_tasks(TaskFilter(task_uuid=task_uuid), limit=1)
        return rows[0] if rows else None

    async def template_of_task(self, task_uuid: UUID) -> int | None:
        """Return the id of the template that a task is a run of; None if there is no such task."""
        template_id: int | None = await self.database.fetch_value(_TASKS["template_of_task"], task_uuid)
        return template_id

    async def task_states(self, task_uuids: Sequence[UUID]) -> dict[UUID, str]:
        """Return the states of tasks; unknown tasks are left out."""
        return {row[0]: row[1] for row in await self.database.fetch(_TASKS["task_states"], task_uuids)}

    async def list_tasks(
        self, wanted: "TaskFilter", *, before: UUID | None = None, limit: int = 50, offset: int = 0
    ) -> Sequence[asyncpg.Record]:
        """Return tasks, newest first; ``before`` is the last task of the page before."""
        return await self.database.fetch(_TASKS["tasks"], *wanted.arguments(), before, limit, offset)

    async def count_tasks(self, wanted: "TaskFilter") -> int:
        """Return how many tasks there are that pass a filter."""
        return int(await self.database.fetch_value(_TASKS["count_tasks"], *wanted.arguments()))

    async def steps_of_task(self, task_uuid: UUID, ordinal: int | None = None) -> Sequence[asyncpg.Record]:
        """Return all steps of a task for display, in template order."""
        return await self.database.fetch(_STEPS["steps_of_task"], task_uuid, ordinal)

    async def step_states(self, task_uuid: UUID) -> Sequence[asyncpg.Record]:
        """Return the states of a task's steps, cheap enough to poll."""
        return await self.database.fetch(_STEPS["step_states"], task_uuid)

    async def task_history(self, task_uuid: UUID) -> Sequence[asyncpg.Record]:
        """Return the state changes of a task itself, oldest first."""
        return await self.database.fetch(_TASKS["task_history"], task_uuid)

    async def step_history(self, task_uuid: UUID) -> Sequence[asyncpg.Record]:
        """Return the attempts of a task's steps, oldest first."""
        return await self.database.fetch(_STEPS["step_history"], task_uuid)

    async def resolve_dead_letter(self, entry_uuid: UUID, status: str, actor: str, notes: str | None) -> bool:
        """Close a dead letter; return False if it was closed already."""
        closed = await self.database.fetch(_DEAD_LETTERS["resolve_dead_letter"], entry_uuid, status, actor, notes)
        return bool(closed)


def _sparse(values: list[_Value | None]) -> list[_Value | None]:
    """Return no values instead of only nulls: unnest fills up with nulls, and encoding costs time."""
    return values if any(value is not None for value in values) else []


def _granted(rows: Sequence[asyncpg.Record]) -> list[GrantedLease]:
    return [
        GrantedLease(LeaseKey(row[0], row[1], row[2]), attempt=row[3], template_id=row[4], detailed=row[5])
        for row in rows
    ]


def _record_answer(rows: Sequence[asyncpg.Record]) -> RecordAnswer:
    refused: set[LeaseKey] = set()
    leased: list[GrantedLease] = []
    rested: list[tuple[UUID, str]] = []
    queued = 0
    for kind, task_uuid, ordinal, lease_id, attempt, template_id, detailed, detail in rows:
        match kind:
            case "leased":
                leased.append(GrantedLease(LeaseKey(task_uuid, ordinal, lease_id), attempt, template_id, detailed))
            case "queued":
                queued += 1
            case "rested":
                rested.append((task_uuid, detail))
            case _:
                refused.add(LeaseKey(task_uuid, ordinal, lease_id))
    return RecordAnswer(frozenset(refused), leased, queued, rested)


def _columns(leases: Sequence[LeaseKey]) -> tuple[list[UUID], list[int], list[int]]:
    return [k.task_uuid for k in leases], [k.ordinal for k in leases], [k.lease_id for k in leases]
