"""The engine as one object: what a process starts, uses and stops."""

import asyncio
import contextlib
import os
import socket
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import structlog

from tasker_core import identifiers
from tasker_core.engine import planner
from tasker_core.engine.planner import Plan
from tasker_core.orchestration import bulk, create_tasks, explain, views
from tasker_core.orchestration.analytics import Analytics
from tasker_core.orchestration.api_keys import ApiKeys
from tasker_core.orchestration.backlog import Backlog
from tasker_core.orchestration.bulk import Creation
from tasker_core.orchestration.create_tasks import DuplicateTaskError, TaskRequest
from tasker_core.orchestration.dead_letters import DeadLetters
from tasker_core.orchestration.feed import Feed
from tasker_core.orchestration.lease_assembly import KnownTasks, facts_of_new
from tasker_core.orchestration.local_source import LocalStepSource
from tasker_core.orchestration.operations import Operations, StepNotFoundError, TaskNotFoundError
from tasker_core.orchestration.plans import Plans
from tasker_core.orchestration.rescuer import Rescuer
from tasker_core.orchestration.sweeper import Sweeper
from tasker_core.orchestration.task_details import TaskDetails
from tasker_core.orchestration.template_registry import TemplateRegistry
from tasker_core.orchestration.workers import Workers
from tasker_core.states import TaskState
from tasker_core.store import (
    Database,
    DuplicateIdentityError,
    NewTask,
    RecordAnswer,
    Store,
    StoreError,
    StoreUnavailableError,
    TaskFilter,
)
from tasker_core.store.frozen_task import Audit
from tasker_core.store.store import CANCELLED_CHANNEL, READY_CHANNEL, RESTED_CHANNEL
from tasker_core.template import TaskTemplate

#: Seconds that a lease lasts; workers renew at a third of it.
LEASE_SECONDS = 30.0

#: Seconds between looks at a task that somebody waits for. Wake-ups come first; this is the backstop.
_WAIT_POLL_SECONDS = 1.0

#: Seconds between two wake-ups of other processes; those that fall between are merged.
_NOTIFY_INTERVAL = 0.02

log = structlog.get_logger("tasker.engine")


class _Waiter:
    """Somebody who waits for a task to rest. ``rested_in`` is the state it was last recorded to rest in."""

    def __init__(self) -> None:
        self.woken = asyncio.Event()
        self.rested_in: TaskState | None = None


class Engine:
    """Creates tasks, hands their steps to workers and watches over them.

    Args:
        url: ``postgresql://`` URL of a database whose schema is up to date.
        environment: name of the template environment whose overrides apply to new tasks.
        lease_seconds: how long a lease lasts unless a heartbeat renews it.
        max_connections: size of the connection pool.
        acquire_timeout: seconds to wait for a free connection; a server wants to answer sooner than a worker.

    Any number of engines may share a database. Use as an async context manager.
    """

    def __init__(
        self,
        url: str,
        *,
        environment: str | None = None,
        lease_seconds: float = LEASE_SECONDS,
        max_connections: int = 8,
        acquire_timeout: float = 30.0,
    ) -> None:
        self._database = Database(url, max_connections=max_connections, acquire_timeout=acquire_timeout)
        self.store = Store(self._database)
        self._environment = environment
        self._lease_seconds = lease_seconds
        self._plans = Plans(self.store)
        self._known = KnownTasks()
        self._resolved: dict[str, Plan] = {}
        self._operations = Operations(self.store, self._plans)
        self._dead_letters = DeadLetters(self.store, self._operations)
        self._sweeper = Sweeper(self.store, self._plans, lease_seconds=lease_seconds, fail_task=self._fail_task)
        self.templates = TemplateRegistry(self.store)
        self.details = TaskDetails(self.store, self._plans)
        self.analytics = Analytics(self.store)
        self.backlog = Backlog(self.store)
        self.feed = Feed(self.store)
        self.api_keys = ApiKeys(self.store)
        self.workers = Workers(self.store, lease_seconds)
        self._ready_listeners: list[Callable[[], None]] = []
        self._cancel_listeners: list[Callable[[], None]] = []
        self._waiting: defaultdict[UUID, set[_Waiter]] = defaultdict(set)
        self._to_notify: set[str] = set()
        self._notify_due = asyncio.Event()
        self._background: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        await self._database.open()
        self._background = [
            asyncio.create_task(self._database.listen([READY_CHANNEL, RESTED_CHANNEL, CANCELLED_CHANNEL], self._heard)),
            asyncio.create_task(self._notify_others()),
        ]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A process that only creates a task ends before the others have heard of it.
        with contextlib.suppress(StoreError, TimeoutError):
            async with asyncio.timeout(1.0):
                await self._notify_now()
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await self._database.close()

    async def create_task(self, template: TaskTemplate, request: TaskRequest, *, return_existing: bool = False) -> UUID:
        """Create a task; see :meth:`create_tasks`."""
        return (await self.create_tasks(template, [request], return_existing=return_existing))[0]

    async def create_tasks(
        self, template: TaskTemplate, requests: Sequence[TaskRequest], *, return_existing: bool = False
    ) -> list[UUID]:
        """Create tasks of one template, all or none, and return their UUIDs.

        Args:
            template: what the tasks are runs of.
            requests: the tasks.
            return_existing: for a request that was made before (see ``TaskRequest.idempotency_key`` and the
                template's ``identity_strategy``), return the task that exists instead of refusing.

        Raises:
            InvalidTaskError: a request does not fit the template.
            DuplicateTaskError: a request was made before.
            StoreError: the database refused or cannot be reached.
        """
        plan = self._plan(template)
        tasks = [create_tasks.prepare(request, plan) for request in requests]
        template_id = await self._plans.save(plan)
        try:
            twins = await self.store.create_tasks(
                template_id, template.namespace_name, tasks, refuse_duplicates=not return_existing
            )
        except DuplicateIdentityError as error:
            new = {task.task_uuid for task in tasks}
            existing = next((twin for twin in error.twins.values() if twin not in new), None)
            raise DuplicateTaskError("A task with this identity already exists", existing) from error
        self._created(plan, tasks, twins)
        return [twins.get(task.task_uuid, task.task_uuid) for task in tasks]

    async def create_each(self, template: TaskTemplate, requests: Sequence[TaskRequest]) -> list[Creation]:
        """Create tasks of one template, each for itself, and return what became of each request, in order.

        Raises:
            StoreError: the database refused or cannot be reached; nothing was created.
        """
        plan = self._plan(template)
        prepared = [bulk.prepared(request, plan) for request in requests]
        tasks = [task for task in prepared if isinstance(task, NewTask)]
        twins: dict[UUID, UUID] = {}
        if tasks:
            template_id = await self._plans.save(plan)
            namespace = template.namespace_name
            twins = await self.store.create_tasks(template_id, namespace, tasks, refuse_duplicates=False)
            self._created(plan, tasks, twins)
        return bulk.creations(prepared, twins, plan)

    @contextlib.asynccontextmanager
    async def worker_source(
        self,
        callables: Sequence[str],
        *,
        on_ready: Callable[[], None],
        on_cancelled: Callable[[], None] = lambda: None,
        name: str | None = None,
        namespaces: Sequence[str] | None = None,
    ) -> AsyncIterator[LocalStepSource]:
        """Register a worker of this process and return its step source; meanwhile looks after tasks in general, too.

        Args:
            callables: what the worker has handlers for.
            on_ready: called when steps may have become ready.
            on_cancelled: called when leases may have been taken away.
            name: the worker's name in history; ``hostname-pid`` by default.
            namespaces: where it takes steps from; everywhere if None.
        """
        hostname, pid = socket.gethostname(), os.getpid()
        name = name or f"{hostname}-{pid}"
        async with self.duties(name):
            worker_id = await self.store.register_worker(name, hostname, pid, callables, namespaces=namespaces)
            try:
                with self.listening(on_ready, on_cancelled):
                    yield self.step_source(worker_id, callables, namespaces)
            finally:
                with contextlib.suppress(StoreError):
                    await self.store.worker_stopped(worker_id)

    def step_source(
        self, worker_id: int, callables: Sequence[str], namespaces: Sequence[str] | None = None
    ) -> LocalStepSource:
        """Return the step source of a worker that is registered; see :meth:`worker_source`."""
        return LocalStepSource(
            self.store,
            self._plans,
            self._known,
            worker_id=worker_id,
            callables=callables,
            namespaces=namespaces,
            lease_seconds=self._lease_seconds,
            recorded=self._recorded,
        )

    @contextlib.contextmanager
    def listening(self, on_ready: Callable[[], None], on_cancelled: Callable[[], None]) -> Iterator[None]:
        """Call ``on_ready`` when steps may have become ready, and ``on_cancelled`` when leases may have been lost."""
        self._ready_listeners.append(on_ready)
        self._cancel_listeners.append(on_cancelled)
        try:
            yield
        finally:
            self._ready_listeners.remove(on_ready)
            self._cancel_listeners.remove(on_cancelled)

    @contextlib.asynccontextmanager
    async def duties(self, name: str) -> AsyncIterator[None]:
        """Rescue the steps of lost workers and look after stale tasks, until the body ends.

        Any number of processes may do so at once. ``name`` is this process's name in the history.
        """
        rescuer_id = await self.store.register_worker(f"{name}-rescuer", socket.gethostname(), os.getpid(), [])
        rescuer = Rescuer(
            self.store,
            self._plans,
            rescuer_id=rescuer_id,
            interval=self._lease_seconds / 6,
            recorded=self._recorded,
        )
        duties = [asyncio.create_task(rescuer.run()), asyncio.create_task(self._sweeper.run())]
        try:
            yield
        finally:
            for duty in duties:
                duty.cancel()
            await asyncio.gather(*duties, return_exceptions=True)
            with contextlib.suppress(StoreError):
                await self.store.worker_stopped(rescuer_id)

    @property
    def lease_seconds(self) -> float:
        """How long a lease lasts unless a heartbeat renews it."""
        return self._lease_seconds

    async def wait(self, task_uuid: UUID, timeout: float | None = None) -> TaskState:
        """Wait until a task is over or blocked by failures, and return its state.

        Args:
            task_uuid: the task.
            timeout: seconds to wait at most.

        Raises:
            TaskNotFoundError: there is no such task.
            TimeoutError: the task was still under way when the time was up.
        """
        waiter = _Waiter()
        self._waiting[task_uuid].add(waiter)
        try:
            async with asyncio.timeout(timeout):
                while True:
                    waiter.woken.clear()
                    state = waiter.rested_in or await self._patiently(lambda: self._state(task_uuid))
                    if state.is_resting:
                        return state
                    waiter.rested_in = None
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(waiter.woken.wait(), _WAIT_POLL_SECONDS)
        finally:
            self._waiting[task_uuid].discard(waiter)
            if not self._waiting[task_uuid]:
                del self._waiting[task_uuid]

    async def cancel_task(self, task_uuid: UUID, *, actor: str, reason: str, dry_run: bool = False) -> dict[str, Any]:
        """End a task and all its steps that are not done. Handlers that run are told to stop.

        Args:
            task_uuid: the task.
            actor: who does it; goes into history with the reason.
            reason: why.
            dry_run: change nothing, and return what would happen.

        Returns:
            What happened: ``task_uuid``, ``verb``, ``changed`` (False if everything was as wanted already),
            ``dry_run``, ``from_state``, ``to_state``, ``actor``, ``reason``, ``steps`` (each with ``step``,
            ``from_state``, ``to_state``) and ``removed`` (names of steps that ceased to exist).

        Raises:
            TaskNotFoundError: there is no such task.
            IllegalMoveError: the task is over.
        """
        return self._operated(
            await self._operations.cancel_task(task_uuid, Audit("cancel", actor, reason), dry_run=dry_run)
        )

    async def pause_task(self, task_uuid: UUID, *, actor: str, reason: str | None = None) -> dict[str, Any]:
        """Let no further step of a task be claimed; what runs goes on to its end. As :meth:`cancel_task`."""
        return self._operated(await self._operations.pause_task(task_uuid, Audit("pause", actor, reason)))

    async def resume_task(self, task_uuid: UUID, *, actor: str, reason: str | None = None) -> dict[str, Any]:
        """Let a paused task go on. As :meth:`cancel_task`."""
        return self._operated(await self._operations.resume_task(task_uuid, Audit("resume", actor, reason)))

    async def retry_task(
        self, task_uuid: UUID, *, actor: str, reason: str | None = None, dry_run: bool = False
    ) -> dict[str, Any]:
        """Let all failed steps of a task start afresh, with all their attempts. As :meth:`cancel_task`."""
        return self._operated(
            await self._operations.retry_task(task_uuid, Audit("retry", actor, reason), dry_run=dry_run)
        )

    async def rerun_task(
        self, task_uuid: UUID, step: str, *, actor: str, reason: str, dry_run: bool = False
    ) -> dict[str, Any]:
        """Run a finished or failed task again from a step on; what is not downstream of it is kept.

        Steps that a decision or analyzer downstream had called for are removed, since it will call again.
        As :meth:`cancel_task`; also raises StepNotFoundError.
        """
        return self._operated(
            await self._operations.rerun_task(task_uuid, step, Audit("rerun", actor, reason), dry_run=dry_run)
        )

    async def reset_step(self, task_uuid: UUID, step: str, *, actor: str, reason: str) -> dict[str, Any]:
        """Let a failed step start afresh, with all its attempts; it resumes from its checkpoint, if it has one.

        As :meth:`cancel_task`; also raises StepNotFoundError.
        """
        return self._operated(await self._operations.reset_step(task_uuid, step, Audit("reset", actor, reason)))

    async def resolve_step(self, task_uuid: UUID, step: str, *, actor: str, reason: str) -> dict[str, Any]:
        """Take a step for done without a result; the steps after it go on, and see none.

        A decision that is resolved chooses nothing, an analyzer makes no batches. As :meth:`cancel_task`; also
        raises StepNotFoundError.
        """
        return self._operated(await self._operations.resolve_step(task_uuid, step, Audit("resolve", actor, reason)))

    async def complete_step(
        self,
        task_uuid: UUID,
        step: str,
        result: dict[str, Any],
        *,
        actor: str,
        reason: str,
        metadata: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Give a step its result by hand; the steps after it go on with it.

        The result of a decision or analyzer must hold its outcome. As :meth:`cancel_task`; also raises
        StepNotFoundError, and ValueError if the result is None.
        """
        if result is None:
            raise ValueError("a step is completed with a result; to take it for done without one, resolve it")
        audit = Audit("complete", actor, reason)
        return self._operated(await self._operations.complete_step(task_uuid, step, result, audit, metadata=metadata))

    async def why(self, task_uuid: UUID, step: str | None = None) -> list[dict[str, Any]]:
        """Return what each step of a task waits for; see :func:`tasker_core.orchestration.explain.why`.

        Raises:
            TaskNotFoundError: there is no such task.
            StepNotFoundError: the task has no such step.
        """
        return await explain.why(self.store, self._plans, task_uuid, step, lease_seconds=self._lease_seconds)

    async def sweep(self, *, dry_run: bool = False) -> list[dict[str, Any]]:
        """Look once for tasks that make no progress, and do what their templates say.

        A process with a worker does so about every minute. Returns what was found and done, a task each; with
        ``dry_run`` what would be done.
        """
        return await self._sweeper.sweep(dry_run=dry_run)

    async def dlq_entries(
        self, *, status: str | None = None, reason: str | None = None, before: UUID | None = None, limit: int = 50
    ) -> list[dict[str, Any]]:
        """Return dead letters, newest first; ``before`` is the last entry of the page before."""
        return await self._dead_letters.entries(status=status, reason=reason, before=before, limit=limit)

    async def dlq_entry(self, entry_uuid: UUID) -> dict[str, Any]:
        """Return one dead letter.

        Raises:
            DeadLetterNotFoundError: there is no such entry.
        """
        return await self._dead_letters.entry(entry_uuid)

    async def dlq_stats(self) -> list[dict[str, Any]]:
        """Return the numbers of dead letters by reason."""
        return await self._dead_letters.stats()

    async def resolve_dlq_entry(
        self, entry_uuid: UUID, *, action: str, actor: str, notes: str | None = None, dry_run: bool = False
    ) -> dict[str, Any]:
        """Close a dead letter, and do what it takes.

        Args:
            entry_uuid: the entry.
            action: ``retry`` (the failed steps start afresh), ``resolve`` (the task, or the one step that the
                entry is about, is taken for done), ``discard`` (the task ends as ``error``), ``cancel`` (it is
                cancelled) or ``none`` (only the entry is closed).
            actor: who does it.
            notes: what to remember.
            dry_run: change nothing, and return what would happen.

        Returns:
            The entry, with what happened to the task under ``change``.

        Raises:
            DeadLetterNotFoundError: there is no such entry.
            IllegalMoveError: the entry is closed already, or the action does not fit the task's state.
        """
        entry = await self._dead_letters.resolve(entry_uuid, action=action, actor=actor, notes=notes, dry_run=dry_run)
        if entry["change"] is not None:
            self._operated(entry["change"])
        return entry

    async def task(self, task_uuid: UUID) -> dict[str, Any]:
        """Return a task.

        Raises:
            TaskNotFoundError: there is no such task.
        """
        row = await self.store.task(task_uuid)
        if row is None:
            raise TaskNotFoundError(task_uuid)
        return views.task_view(row)

    async def tasks(
        self, wanted: TaskFilter | None = None, *, before: UUID | None = None, limit: int = 50, offset: int = 0
    ) -> list[dict[str, Any]]:
        """Return tasks, newest first; ``before`` is the last task of the page before."""
        rows = await self.store.list_tasks(wanted or TaskFilter(), before=before, limit=limit, offset=offset)
        return [views.task_view(row) for row in rows]

    async def count_tasks(self, wanted: TaskFilter | None = None) -> int:
        """Return how many tasks pass a filter."""
        return await self.store.count_tasks(wanted or TaskFilter())

    async def steps(self, task_uuid: UUID) -> list[dict[str, Any]]:
        """Return all steps of a task, in template order.

        Raises:
            TaskNotFoundError: there is no such task.
        """
        rows = await self.store.steps_of_task(task_uuid)
        if not rows:
            await self._state(task_uuid)
        return [views.step_view(task_uuid, row) for row in rows]

    async def step(self, task_uuid: UUID, step_uuid: UUID) -> dict[str, Any]:
        """Return one step of a task.

        Raises:
            TaskNotFoundError: there is no such task.
            StepNotFoundError: the task has no such step.
        """
        belongs = identifiers.task_uuid_of(step_uuid) == task_uuid
        rows = await self.store.steps_of_task(task_uuid, identifiers.ordinal_of(step_uuid)) if belongs else []
        if not rows:
            await self._state(task_uuid)
            raise StepNotFoundError(task_uuid, str(step_uuid))
        return views.step_view(task_uuid, rows[0])

    async def step_states(self, task_uuid: UUID) -> list[dict[str, Any]]:
        """Return ``name``, ``template_step``, ``state``, ``attempts`` and ``error`` (a text) of all steps of a task."""
        return [dict(row) for row in await self.store.step_states(task_uuid)]

    async def history(self, task_uuid: UUID) -> list[dict[str, Any]]:
        """Return every state change of a task and its steps, oldest first.

        Raises:
            TaskNotFoundError: there is no such task.
        """
        await self._state(task_uuid)
        return views.history_view(await self.store.task_history(task_uuid), await self.store.step_history(task_uuid))

    def _created(self, plan: Plan, tasks: Iterable[NewTask], twins: Mapping[UUID, UUID]) -> None:
        """Remember new tasks, those that have no twin, and tell the workers."""
        for task in tasks:
            if task.task_uuid not in twins:
                self._known.add(facts_of_new(task, plan))
        self.wake_workers()
        self._notify(READY_CHANNEL)

    def _plan(self, template: TaskTemplate) -> Plan:
        plan = self._resolved.get(template.digest)
        if plan is None:
            plan = planner.plan_task(template, self._environment)
            self._resolved[template.digest] = plan
        return plan

    async def _state(self, task_uuid: UUID) -> TaskState:
        states = await self.store.task_states([task_uuid])
        if task_uuid not in states:
            raise TaskNotFoundError(task_uuid)
        return TaskState(states[task_uuid])

    async def _patiently(self, look: Callable[[], Awaitable[TaskState]]) -> TaskState:
        """Look, again and again while the database is away."""
        while True:
            try:
                return await look()
            except StoreUnavailableError as error:
                log.warning("database_away", reason=str(error))
                await asyncio.sleep(_WAIT_POLL_SECONDS)

    def _recorded(self, answer: RecordAnswer) -> None:
        if answer.rested:
            for task_uuid, state in answer.rested:
                for waiter in self._waiting.get(task_uuid, ()):
                    waiter.rested_in = TaskState(state)
                    waiter.woken.set()
            self._notify(RESTED_CHANNEL)
        if answer.queued:
            self.wake_workers()
            self._notify(READY_CHANNEL)

    def _heard(self, channel: str) -> None:
        if channel == READY_CHANNEL:
            self.wake_workers()
        elif channel == CANCELLED_CHANNEL:
            self._check_leases()
        else:
            self._wake_waiters()

    async def _fail_task(self, task_uuid: UUID, reason: str) -> object:
        audit = Audit("staleness", "tasker", reason)
        return self._operated(await self._operations.close_task(task_uuid, audit, state=TaskState.ERROR))

    def _operated(self, answer: dict[str, Any]) -> dict[str, Any]:
        """Let everybody look who may be concerned by what a verb did; return that."""
        if answer["changed"] and not answer["dry_run"]:
            self._known.forget(UUID(answer["task_uuid"]))
            self.wake_workers()
            self._check_leases()
            self._wake_waiters()
            for channel in (READY_CHANNEL, RESTED_CHANNEL, CANCELLED_CHANNEL):
                self._notify(channel)
        return answer

    def _wake_waiters(self) -> None:
        for waiter in chain.from_iterable(self._waiting.values()):
            waiter.woken.set()

    def _check_leases(self) -> None:
        for on_cancelled in self._cancel_listeners:
            on_cancelled()

    def wake_workers(self) -> None:
        """Say to whoever is :meth:`listening` that steps may be ready."""
        for on_ready in self._ready_listeners:
            on_ready()

    def _notify(self, channel: str) -> None:
        self._to_notify.add(channel)
        self._notify_due.set()

    async def _notify_others(self) -> None:
        while True:
            await self._notify_due.wait()
            self._notify_due.clear()
            try:
                await self._notify_now()
            except StoreError as error:
                # Only a hint is lost: every listener also polls.
                log.debug("notification_lost", reason=str(error))
            await asyncio.sleep(_NOTIFY_INTERVAL)

    async def _notify_now(self) -> None:
        channels, self._to_notify = self._to_notify, set()
        if channels:
            await self.store.notify(sorted(channels))
