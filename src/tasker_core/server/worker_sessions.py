"""The workers that speak to this server."""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID, uuid4

import structlog
from starlette.requests import Request

from tasker_core.access import ANONYMOUS, Caller
from tasker_core.orchestration import Engine, LocalStepSource
from tasker_core.server.errors import ApiError
from tasker_core.server.routing import forbidden
from tasker_core.step_source import LeasedStep, LeaseKey, ReportAnswer, StepReport
from tasker_core.store import StoreError, StoreUnavailableError
from tasker_core.wire import WORKER_UNKNOWN, Registration

#: Seconds between claims while a worker waits. Wake-ups come first; this is the backstop.
_IDLE_POLL_SECONDS: Final = 1.0

#: Shortest pause before a claim for a step that is due, should somebody else hold it just then.
_LEAST_PAUSE_SECONDS: Final = 0.02

#: Seconds after which a session is compared with the database again, and its worker noted as alive.
_CHECK_SECONDS: Final = 5.0

#: Sessions that are kept; others are found again in the database.
_MOST_SESSIONS: Final = 10_000

log = structlog.get_logger("tasker.server")


@dataclass(slots=True, eq=False)
class Session:
    """A worker as this server knows it.

    Attributes:
        worker_uuid: what the worker is called on the wire.
        worker_id: id under which its leases are held.
        subject: whose credential it registered with.
        namespaces: where it takes steps from; everywhere if None.
        callables: what it has handlers for.
        source: its steps.
        checked_at: when it was last compared with the database, on the loop's clock.
        over: the worker is deregistered.
    """

    worker_uuid: UUID
    worker_id: int
    subject: str | None
    namespaces: frozenset[str] | None
    callables: frozenset[str]
    source: LocalStepSource
    checked_at: float
    over: bool = False

    @property
    def lazy(self) -> bool:
        """Whether it takes large results only when it asks for them: the last bit of its id."""
        return bool(self.worker_uuid.int & 1)


class WorkerSessions:
    """What this server knows of remote workers; any other server can take over, since the database has it all."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._sessions: OrderedDict[UUID, Session] = OrderedDict()

    async def register(self, caller: Caller, registration: Registration, address: str) -> Session:
        """Add a worker, or change what one that says its ``worker_id`` takes; it keeps its leases.

        Args:
            caller: whose credential it has.
            registration: what it says of itself.
            address: where it calls from, for the history.

        Raises:
            ApiError: a namespace is not open to the caller (403), or the worker to be changed is unknown (404, 410).
        """
        for namespace in registration.namespaces or ():
            if not caller.may_enter(namespace):
                raise forbidden(f"The namespace {namespace!r} is not open to this caller")
        namespaces = caller.visible(registration.namespaces)
        if registration.worker_id is not None:
            session = await self.find(registration.worker_id, caller)
            await self._engine.store.change_worker(
                session.worker_id, registration.callables, namespaces, registration.concurrency
            )
            return self._keep(
                session.worker_uuid, session.worker_id, session.subject, registration.callables, namespaces
            )
        hostname, pid = registration.hostname or address, registration.pid or 0
        worker_uuid = UUID(int=uuid4().int & ~1 | registration.lazy_results)
        worker_id = await self._engine.store.register_worker(
            registration.name or f"{hostname}-{pid}",
            hostname,
            pid,
            registration.callables,
            namespaces=namespaces,
            worker_uuid=worker_uuid,
            subject=caller.subject,
            concurrency=registration.concurrency,
            sdk=registration.sdk,
        )
        return self._keep(worker_uuid, worker_id, caller.subject, registration.callables, namespaces)

    async def find(self, worker_uuid: UUID, caller: Caller) -> Session:
        """Return a worker's session and note that the worker is alive.

        Raises:
            ApiError: there is no such worker, or not for this caller (404), or it was deregistered (410).
        """
        session = self._sessions.get(worker_uuid)
        if session is None or _now() - session.checked_at > min(_CHECK_SECONDS, self._engine.lease_seconds / 3):
            session = await self._checked(worker_uuid, session)
        else:
            self._sessions.move_to_end(worker_uuid)
        if session.subject != caller.subject and caller is not ANONYMOUS:
            raise _unknown()
        if caller.namespaces is not None and (
            session.namespaces is None or not session.namespaces <= caller.namespaces
        ):
            raise _unknown()  # it may do less than when it registered
        return session

    async def lease(self, session: Session, limit: int, wait_seconds: float, request: Request) -> Sequence[LeasedStep]:
        """Lease steps as soon as there are any; none if there are none in time.

        Whoever went away meanwhile gets nothing.
        """
        async with _patience(request, wait_seconds) as patience:
            with self._engine.listening(patience.wake, _nothing):
                while True:
                    patience.listen()
                    steps = await session.source.claim(limit)
                    if steps:
                        break
                    due = await session.source.next_due() if patience.left else None
                    pause = _IDLE_POLL_SECONDS if due is None else max(_LEAST_PAUSE_SECONDS, due)
                    if not await patience.wait(min(pause, _IDLE_POLL_SECONDS)):
                        return ()
        if session.over or await request.is_disconnected():
            await session.source.release([step.key for step in steps])
            return ()
        return steps

    async def heartbeat(
        self, session: Session, leases: Sequence[LeaseKey], wait_seconds: float, request: Request
    ) -> tuple[frozenset[LeaseKey], frozenset[LeaseKey]]:
        """Renew leases until one is lost or the time is up; return those that are lost, and those of cancelled steps.

        No lease is in both.
        """
        async with _patience(request, wait_seconds) as patience:
            with self._engine.listening(_nothing, patience.wake):
                while True:
                    patience.listen()
                    lost = await session.source.renew(leases)
                    if lost or not await patience.wait(self._engine.lease_seconds / 3):
                        break
        cancelled = await self._engine.store.cancelled_steps(sorted(lost)) if lost else frozenset()
        return lost - cancelled, cancelled

    async def report(self, session: Session, reports: Sequence[StepReport], want: int) -> ReportAnswer:
        """Record reports; one that the database cannot take is rejected alone."""
        try:
            return self._announced(await session.source.report(reports, want))
        except StoreUnavailableError:
            raise
        except StoreError as error:
            if len(reports) == 1:
                log.warning("report_failed", reason=str(error), worker=str(session.worker_uuid))
                return ReportAnswer(rejected={reports[0].lease: "The database cannot store it"})
        refused, leased, rejected, more_ready = set[LeaseKey](), list[LeasedStep](), dict[LeaseKey, str](), False
        for report in reports:
            answer = await self.report(session, [report], max(0, want - len(leased)))
            refused |= answer.refused
            leased += answer.leased
            rejected |= answer.rejected
            more_ready |= answer.more_ready
        return ReportAnswer(frozenset(refused), leased, more_ready, rejected=rejected)

    def _announced(self, answer: ReportAnswer) -> ReportAnswer:
        """Wake who waits when a retry is due. They looked for what is due before; longer delays the idle poll finds."""
        if answer.retry_in is not None and answer.retry_in < _IDLE_POLL_SECONDS:
            asyncio.get_running_loop().call_later(answer.retry_in, self._engine.wake_workers)
        return answer

    async def deregister(self, session: Session) -> None:
        """Give back everything that a worker holds, and note that it stopped."""
        session.over = True
        self._sessions.pop(session.worker_uuid, None)
        await self._engine.store.worker_stopped(session.worker_id)
        held = await self._engine.store.leases_of_worker(session.worker_id)
        if held:
            await session.source.release([grant.key for grant in held])

    async def _checked(self, worker_uuid: UUID, session: Session | None) -> Session:
        row = await self._engine.store.worker(worker_uuid)
        if row is None or row["subject"] is None:
            raise _unknown()
        if row["stopped_at"] is not None:
            self._sessions.pop(worker_uuid, None)
            raise ApiError(410, WORKER_UNKNOWN, "This worker was deregistered: register again")
        await self._engine.store.worker_seen(row["worker_id"])
        namespaces = None if row["namespaces"] is None else frozenset(row["namespaces"])
        # Another server may have registered a change.
        if session is None or (session.callables, session.namespaces) != (frozenset(row["callables"]), namespaces):
            session = self._keep(worker_uuid, row["worker_id"], row["subject"], row["callables"], row["namespaces"])
        session.checked_at = _now()
        return session

    def _keep(
        self,
        worker_uuid: UUID,
        worker_id: int,
        subject: str | None,
        callables: Sequence[str],
        namespaces: Sequence[str] | None,
    ) -> Session:
        session = self._sessions[worker_uuid] = Session(
            worker_uuid,
            worker_id,
            subject,
            None if namespaces is None else frozenset(namespaces),
            frozenset(callables),
            self._engine.step_source(worker_id, callables, namespaces),
            _now(),
        )
        if len(self._sessions) > _MOST_SESSIONS:
            self._sessions.popitem(last=False)
        return session


class _Patience:
    """A request that waits: for a wake-up, until its time is up, its client goes away or the server stops."""

    def __init__(self, wait_seconds: float) -> None:
        self._ends_at = _now() + wait_seconds
        self._woken = asyncio.Event()
        self._given_up = False
        self.wake: Callable[[], None] = self._woken.set

    @property
    def left(self) -> float:
        """Seconds until the time is up; 0.0 if waiting is over."""
        return 0.0 if self._given_up else max(0.0, self._ends_at - _now())

    def listen(self) -> None:
        """Count wake-ups from here on."""
        self._woken.clear()

    async def wait(self, seconds: float) -> bool:
        """Wait for a wake-up, ``seconds`` at most; return whether to go on."""
        left = self.left
        if not left:
            return False
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._woken.wait(), min(seconds, left))
        return not self._given_up

    def give_up(self, _task: object) -> None:
        """Wait no longer."""
        self._given_up = True
        self._woken.set()


@contextlib.asynccontextmanager
async def _patience(request: Request, wait_seconds: float) -> AsyncIterator[_Patience]:
    patience = _Patience(wait_seconds)
    if not wait_seconds:
        yield patience
        return
    request.scope["state"]["extend"](wait_seconds)
    ends = [asyncio.create_task(_disconnected(request)), asyncio.create_task(request.app.state.stopping.wait())]
    for end in ends:
        end.add_done_callback(patience.give_up)
    try:
        yield patience
    finally:
        for end in ends:
            end.remove_done_callback(patience.give_up)
            end.cancel()
        await asyncio.gather(*ends, return_exceptions=True)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _unknown() -> ApiError:
    return ApiError(404, WORKER_UNKNOWN, "Unknown worker: register again")


def _nothing() -> None: ...


def _now() -> float:
    return asyncio.get_running_loop().time()
