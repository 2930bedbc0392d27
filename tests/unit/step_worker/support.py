"""An engine to test workers against: what a remote one would do, in memory, with outages on demand."""

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from tasker_core import identifiers
from tasker_core.handler import HandlerRegistry
from tasker_core.step_source import (
    AncestorResult,
    LeasedStep,
    LeaseKey,
    Renew,
    ReportAnswer,
    SourceUnavailableError,
    StepReport,
    TaskFacts,
)
from tasker_core.step_worker import StepWorker
from tasker_core.template import HandlerReference, StepTemplate


def leased_step(
    callable_name: str = "work",
    *,
    attempt: int = 1,
    context: str = "{}",
    timeout: int | None = None,
    ancestors: Sequence[AncestorResult] = (),
    **handler: Any,
) -> LeasedStep:
    """A step of a task of its own."""
    task_uuid = identifiers.new_task_uuid()
    template = StepTemplate(
        name="step", handler=HandlerReference(callable=callable_name, **handler), timeout_seconds=timeout
    )
    facts = TaskFacts(
        task_uuid=task_uuid,
        name="task",
        namespace="test",
        version="1.0.0",
        named_task_uuid=identifiers.new_task_uuid(),
        context=context,
        correlation_id=task_uuid,
        parent_correlation_id=None,
        priority=0,
        initiator=None,
        source_system=None,
        reason=None,
        tags=None,
    )
    return LeasedStep(facts, LeaseKey(task_uuid, 0, 7), attempt, "step", template.to_dict(), ancestors)


class FakeSource:
    """An engine that grants leases in order, records reports of leases that hold, and refuses all others.

    Attributes:
        ready: steps to grant, oldest first.
        leased: steps that the worker holds.
        recorded: accepted reports.
        refused: reports that came without a lease.
        released: leases that were given back unused.
        most_leased: most leases that were out at once.
        calls: how often each verb was called.
    """

    def __init__(self, steps: Iterable[LeasedStep] = (), *, lease_seconds: float = 30.0) -> None:
        self.lease_seconds = lease_seconds
        self.ready = deque(steps)
        self.leased: dict[LeaseKey, LeasedStep] = {}
        self.recorded: dict[LeaseKey, StepReport] = {}
        self.refused: list[StepReport] = []
        self.released: list[LeaseKey] = []
        self.most_leased = 0
        self.calls: Counter[str] = Counter()
        #: Steps that become ready once a step is recorded as a success.
        self.frees: dict[LeaseKey, list[LeasedStep]] = {}
        #: Raised by the verb of that name, before it does anything, until it is removed.
        self.failing: dict[str, Exception] = {}
        #: Called in the middle of the verb of that name: what it did holds, its answer is under way.
        self.before_answer: dict[str, Callable[[], Awaitable[None]]] = {}
        #: Lets a test look at reports before they are recorded; may raise.
        self.inspect: Callable[[Sequence[StepReport]], None] = lambda _reports: None
        self.renewed = asyncio.Event()
        self._changed = asyncio.Condition()
        self._loop = asyncio.get_running_loop()

    def go_down(self) -> None:
        """Be unreachable."""
        self.failing = dict.fromkeys(("claim", "report", "recover", "next_due", "release", "renew"), unavailable())

    def come_back(self) -> None:
        """Be reachable again."""
        self.failing = {}

    async def claim(self, limit: int) -> Sequence[LeasedStep]:
        self._called("claim")
        granted = self._grant(limit)
        await self._answer("claim")
        return granted

    async def report(self, reports: Sequence[StepReport], want: int) -> ReportAnswer:
        self._called("report")
        self.inspect(reports)
        refused, freed = set(), deque[LeasedStep]()
        for report in reports:
            if self.leased.pop(report.lease, None) is None:
                self.refused.append(report)
                refused.add(report.lease)
            else:
                assert report.lease not in self.recorded
                self.recorded[report.lease] = report
                if report.success:
                    freed.extend(self.frees.get(report.lease, ()))
        self.ready.extendleft(reversed(freed))
        leased = self._grant(min(want, len(freed)))
        await self._note()
        await self._answer("report")
        return ReportAnswer(frozenset(refused), leased, more_ready=len(freed) > len(leased))

    async def recover(self) -> Sequence[LeasedStep]:
        self._called("recover")
        held = list(self.leased.values())
        await self._answer("recover")
        return held

    async def next_due(self) -> float | None:
        self._called("next_due")
        return None

    async def release(self, leases: Sequence[LeaseKey]) -> None:
        self._called("release")
        for lease in leases:
            self.ready.append(self.leased.pop(lease))
            self.released.append(lease)

    @contextlib.asynccontextmanager
    async def heartbeats(self) -> AsyncIterator[Renew]:
        async def renew(leases: Sequence[LeaseKey]) -> frozenset[LeaseKey]:
            self._called("renew")
            if leases:
                self._loop.call_soon_threadsafe(self.renewed.set)
            return frozenset(lease for lease in leases if lease not in self.leased)

        yield renew

    async def until(self, condition: Callable[[], bool], timeout: float = 5.0) -> None:
        """Wait until a condition holds that depends on what is recorded or called."""
        async with asyncio.timeout(timeout), self._changed:
            await self._changed.wait_for(condition)

    async def until_recorded(self, count: int, timeout: float = 5.0) -> None:
        """Wait for that many accepted reports."""
        await self.until(lambda: len(self.recorded) >= count, timeout)

    def _grant(self, limit: int) -> list[LeasedStep]:
        granted = [self.ready.popleft() for _ in range(min(limit, len(self.ready)))]
        self.leased.update((step.key, step) for step in granted)
        self.most_leased = max(self.most_leased, len(self.leased))
        return granted

    def _called(self, verb: str) -> None:
        self.calls[verb] += 1
        if verb != "renew":  # which comes from another thread
            self._loop.create_task(self._note())
        if verb in self.failing:
            raise self.failing[verb]

    async def _answer(self, verb: str) -> None:
        await asyncio.sleep(0)
        if verb in self.before_answer:
            await self.before_answer[verb]()

    async def _note(self) -> None:
        async with self._changed:
            self._changed.notify_all()


def unavailable() -> SourceUnavailableError:
    """The error of a source that cannot be reached."""
    return SourceUnavailableError("connection refused")


@contextlib.asynccontextmanager
async def at_work(source: FakeSource, handlers: Mapping[str, Any], **options: Any) -> AsyncIterator[StepWorker]:
    """A worker with these decorated functions by callable, running until the body ends."""
    registry = HandlerRegistry()
    for name, handler in handlers.items():
        registry.register(name, handler)
    # The backstop is out of the way, so that a test hangs if a wake-up is missing.
    worker = StepWorker(source, registry, **{"idle_poll": 30.0, **options})
    task = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        worker.stop()
        async with asyncio.timeout(10):
            await task
