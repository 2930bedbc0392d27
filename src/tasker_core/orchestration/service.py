"""The engine as one object: what a process starts, uses and stops."""

import asyncio
import contextlib
import os
import socket
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from itertools import chain
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import structlog

from tasker_core.engine import planner
from tasker_core.engine.planner import Plan
from tasker_core.orchestration import create_tasks, views
from tasker_core.orchestration.create_tasks import TaskRequest
from tasker_core.orchestration.lease_assembly import KnownTasks, facts_of_new
from tasker_core.orchestration.local_source import LocalStepSource
from tasker_core.orchestration.plans import Plans
from tasker_core.orchestration.rescuer import Rescuer
from tasker_core.states import TaskState
from tasker_core.store import Database, RecordAnswer, Store, StoreError, StoreUnavailableError
from tasker_core.store.store import READY_CHANNEL, RESTED_CHANNEL
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


class TaskNotFoundError(LookupError):
    """No task has this UUID."""

    def __init__(self, task_uuid: UUID) -> None:
        super().__init__(f"there is no task {task_uuid}")


class Engine:
    """Creates tasks, hands their steps to workers and watches over them.

    Args:
        url: ``postgresql://`` URL of a database whose schema is up to date.
        environment: name of the template environment whose overrides apply to new tasks.
        lease_seconds: how long a lease lasts unless a heartbeat renews it.
        max_connections: size of the connection pool.

    Any number of engines may share a database. Use as an async context manager.
    """

    def __init__(
        self,
        url: str,
        *,
        environment: str | None = None,
        lease_seconds: float = LEASE_SECONDS,
        max_connections: int = 8,
    ) -> None:
        self._database = Database(url, max_connections=max_connections)
        self.store = Store(self._database)
        self._environment = environment
        self._lease_seconds = lease_seconds
        self._plans = Plans(self.store)
        self._known = KnownTasks()
        self._resolved: dict[str, Plan] = {}
        self._ready_listeners: list[Callable[[], None]] = []
        self._waiting: defaultdict[UUID, set[_Waiter]] = defaultdict(set)
        self._to_notify: set[str] = set()
        self._notify_due = asyncio.Event()
        self._background: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        await self._database.open()
        self._background = [
            asyncio.create_task(self._database.listen([READY_CHANNEL, RESTED_CHANNEL], self._heard)),
            asyncio.create_task(self._notify_others()),
        ]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await self._database.close()

    async def create_task(self, template: TaskTemplate, request: TaskRequest) -> UUID:
        """Create a task; see :meth:`create_tasks`."""
        return (await self.create_tasks(template, [request]))[0]

    async def create_tasks(self, template: TaskTemplate, requests: Sequence[TaskRequest]) -> list[UUID]:
        """Create tasks of one template, all or none, and return their UUIDs.

        Raises:
            InvalidTaskError: a request does not fit the template.
            StoreError: the database refused or cannot be reached.
        """
        plan = self._plan(template)
        tasks = [create_tasks.prepare(request, plan) for request in requests]
        template_id = await self._plans.save(plan)
        await self.store.create_tasks(template_id, tasks)
        for task in tasks:
            self._known.add(facts_of_new(task, plan))
        self._wake_workers()
        self._notify(READY_CHANNEL)
        return [task.task_uuid for task in tasks]

    @contextlib.asynccontextmanager
    async def worker_source(
        self, callables: Sequence[str], *, on_ready: Callable[[], None], name: str | None = None
    ) -> AsyncIterator[LocalStepSource]:
        """Register a worker of this process and return its step source; also rescues expired leases meanwhile.

        Args:
            callables: what the worker has handlers for.
            on_ready: called when steps may have become ready.
            name: the worker's name in history; ``hostname-pid`` by default.
        """
        hostname, pid = socket.gethostname(), os.getpid()
        name = name or f"{hostname}-{pid}"
        worker_id = await self.store.register_worker(name, hostname, pid, callables)
        rescuer_id = await self.store.register_worker(f"{name}-rescuer", hostname, pid, [])
        rescuer = Rescuer(self.store, self._plans, rescuer_id=rescuer_id, interval=self._lease_seconds / 6)
        rescue = asyncio.create_task(rescuer.run())
        self._ready_listeners.append(on_ready)
        try:
            yield LocalStepSource(
                self.store,
                self._plans,
                self._known,
                worker_id=worker_id,
                callables=callables,
                lease_seconds=self._lease_seconds,
                recorded=self._recorded,
            )
        finally:
            self._ready_listeners.remove(on_ready)
            rescue.cancel()
            await asyncio.gather(rescue, return_exceptions=True)
            with contextlib.suppress(StoreError):
                await self.store.worker_stopped(worker_id)
                await self.store.worker_stopped(rescuer_id)

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
        self,
        *,
        namespace: str | None = None,
        name: str | None = None,
        state: TaskState | None = None,
        before: UUID | None = None,
        limit: int = 50,
    ) -> list[dict[str, Any]]:
        """Return tasks, newest first; ``before`` is the last task of the page before."""
        rows = await self.store.list_tasks(namespace=namespace, name=name, state=state, before=before, limit=limit)
        return [views.task_view(row) for row in rows]

    async def steps(self, task_uuid: UUID) -> list[dict[str, Any]]:
        """Return all steps of a task, in template order.

        Raises:
            TaskNotFoundError: there is no such task.
        """
        rows = await self.store.steps_of_task(task_uuid)
        if not rows:
            await self._state(task_uuid)
        return [views.step_view(task_uuid, row) for row in rows]

    async def history(self, task_uuid: UUID) -> list[dict[str, Any]]:
        """Return every state change of a task and its steps, oldest first.

        Raises:
            TaskNotFoundError: there is no such task.
        """
        await self._state(task_uuid)
        return views.history_view(await self.store.task_history(task_uuid), await self.store.step_history(task_uuid))

    def _plan(self, template: TaskTemplate) -> Plan:
        plan = self._resolved.get(template.digest)
        if plan is None:
            plan = planner.plan_task(template, self._environment)
            create_tasks.require_runnable(plan)
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
            self._wake_workers()
            self._notify(READY_CHANNEL)

    def _heard(self, channel: str) -> None:
        if channel == READY_CHANNEL:
            self._wake_workers()
        else:
            for waiter in chain.from_iterable(self._waiting.values()):
                waiter.woken.set()

    def _wake_workers(self) -> None:
        for on_ready in self._ready_listeners:
            on_ready()

    def _notify(self, channel: str) -> None:
        self._to_notify.add(channel)
        self._notify_due.set()

    async def _notify_others(self) -> None:
        while True:
            await self._notify_due.wait()
            self._notify_due.clear()
            channels, self._to_notify = self._to_notify, set()
            try:
                await self.store.notify(sorted(channels))
            except StoreError as error:
                # Only a hint is lost: every listener also polls.
                log.debug("notification_lost", reason=str(error))
            await asyncio.sleep(_NOTIFY_INTERVAL)
