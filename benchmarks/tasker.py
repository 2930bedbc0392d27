"""Tasker itself: engine and worker in one process, as ``tasker run`` has them."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import uvloop

from benchmarks.measure import MeasurementError, Round, Sizes, Stopwatch
from tasker_core import StepContext, StepHandler, StepHandlerResult
from tasker_core.handler import HandlerRegistry
from tasker_core.orchestration import Engine, TaskRequest
from tasker_core.states import TaskState
from tasker_core.step_source import LeasedStep, LeaseKey, Renew, ReportAnswer, StepReport, StepSource
from tasker_core.step_worker import StepWorker
from tasker_core.store import migrate
from tasker_core.template import load_file

_TEMPLATES = Path(__file__).parent / "templates"

#: Tasks that one call creates in the bulk measurement.
_CREATE_BATCH = 500

#: Single tasks of the warm-up.
_WARM_UP = 10

#: Seconds after which a measurement has gone wrong.
_LIMIT = 600.0


class AsyncNoop(StepHandler):
    """Returns at once, on the event loop."""

    async def call(self, context: StepContext) -> StepHandlerResult:  # noqa: ARG002 - the signature is given
        """Succeed with a small result, which later steps receive."""
        return StepHandlerResult.success({"ok": True})


class SyncNoop(StepHandler):
    """Returns at once, on a handler thread."""

    def call(self, context: StepContext) -> StepHandlerResult:  # noqa: ARG002 - the signature is given
        """Succeed with a small result, which later steps receive."""
        return StepHandlerResult.success({"ok": True})


class TaskerBenchmark:
    """How long does a task of four steps take, and how many such steps a second can one process run?

    All handlers are no-ops, so what is measured is the engine: planning, leases, contexts, history, commits.

    * **Latency.** From before `Engine.create_task` to after `Engine.wait`, one task at a time, the worker idle in
      between. It holds the durable creation, four claimed and recorded steps, and the wait that notices the end.
    * **Creation.** From before the first to after the last of the `Engine.create_tasks` calls, 500 tasks each, one
      call after the other, no worker running.
    * **Run.** From starting the worker until the database has acknowledged the record of the last step. It holds the
      worker's own start. The worker finds all tasks in the database.

    Not in any region: opening the engine, migrations, the warm-up (one bulk as wide as the worker, then ten single
    tasks), and the check afterwards that every task is complete.
    """

    def __init__(self, template: str, handler: type[StepHandler]) -> None:
        self._template = load_file(_TEMPLATES / f"{template}.yaml")
        self._callables = [step.handler.callable for step in self._template.steps]
        self._registry = HandlerRegistry()
        # Each context is another, since the same context is the same task.
        self._numbers = itertools.count()
        for callable_name in self._callables:
            self._registry.register(callable_name, handler)

    def measure(self, database_url: str, sizes: Sizes) -> Round:
        """Warm up and measure one round on an empty database."""
        return uvloop.run(self._measure(database_url, sizes))

    async def _measure(self, database_url: str, sizes: Sizes) -> Round:
        await migrate(database_url)
        async with asyncio.timeout(_LIMIT), Engine(database_url) as engine:
            await self._bulk(engine, sizes.concurrency, sizes.concurrency)
            latencies = await self._one_at_a_time(engine, sizes)
            creating, running = await self._bulk(engine, sizes.tasks, sizes.concurrency)
        return Round(
            tasks=sizes.tasks,
            steps=sizes.tasks * len(self._template.steps),
            create_seconds=creating.seconds,
            run_seconds=running.seconds,
            cpu_seconds=running.cpu_seconds,
            latencies_ms=latencies,
        )

    async def _one_at_a_time(self, engine: Engine, sizes: Sizes) -> list[float]:
        async with self._working(engine, sizes.concurrency):
            for _ in range(_WARM_UP):
                await self._run_one(engine)
            with Stopwatch():
                return [await self._run_one(engine) for _ in range(sizes.single_tasks)]

    async def _run_one(self, engine: Engine) -> float:
        """Run one task and return how many milliseconds that took."""
        started = time.perf_counter()
        state = await engine.wait(await engine.create_task(self._template, TaskRequest({"n": next(self._numbers)})))
        elapsed = time.perf_counter() - started
        if state is not TaskState.COMPLETE:
            raise MeasurementError(f"a task ended as {state}")
        return elapsed * 1000

    async def _bulk(self, engine: Engine, tasks: int, concurrency: int) -> tuple[Stopwatch, Stopwatch]:
        task_uuids = []
        with Stopwatch() as creating:
            for start in range(0, tasks, _CREATE_BATCH):
                batch = [
                    TaskRequest({"n": next(self._numbers)}) for _ in range(start, min(start + _CREATE_BATCH, tasks))
                ]
                task_uuids.extend(await engine.create_tasks(self._template, batch))
        async with self._working(engine, concurrency) as source:
            # The worker starts when this coroutine first waits, which is inside the region.
            with Stopwatch() as running:
                await source.has_recorded(tasks * len(self._template.steps))
        states = await engine.store.task_states(task_uuids)
        if len(states) != tasks or set(states.values()) != {TaskState.COMPLETE.value}:
            raise MeasurementError(f"not all of {tasks} tasks are complete")
        return creating, running

    @contextlib.asynccontextmanager
    async def _working(self, engine: Engine, concurrency: int) -> AsyncIterator["CountingSource"]:
        """Have a worker run meanwhile; its failure ends the block."""
        async with engine.worker_source(self._callables, on_ready=lambda: worker.wake()) as source:
            counting = CountingSource(source)
            worker = StepWorker(counting, self._registry, concurrency=concurrency)
            async with asyncio.TaskGroup() as group:
                group.create_task(worker.run())
                yield counting
                worker.stop()


#: The variants, by name.
BENCHMARKS: dict[str, Callable[[], TaskerBenchmark]] = {
    "chain": lambda: TaskerBenchmark("chain", AsyncNoop),
    "chain-sync": lambda: TaskerBenchmark("chain", SyncNoop),
    "diamond": lambda: TaskerBenchmark("diamond", AsyncNoop),
}


class CountingSource:
    """Passes everything on to another step source and says when enough steps are recorded.

    It acts once a batch, so that noticing the end costs the measured worker nothing.

    Attributes:
        recorded: successful steps that are recorded.
    """

    def __init__(self, source: StepSource) -> None:
        self._source = source
        self.recorded = 0
        self._expected = 0
        self._reached = asyncio.Event()

    async def has_recorded(self, steps: int) -> None:
        """Wait until this many successful steps are recorded."""
        self._expected = steps
        await self._reached.wait()

    @property
    def lease_seconds(self) -> float:
        """How long a lease lasts."""
        return self._source.lease_seconds

    async def report(self, reports: Sequence[StepReport], want: int) -> ReportAnswer:
        """Report and count."""
        answer = await self._source.report(reports, want)
        self.recorded += sum(report.success for report in reports) - len(answer.refused)
        if self.recorded == self._expected:
            self._reached.set()
        return answer

    async def claim(self, limit: int) -> Sequence[LeasedStep]:
        """Pass on."""
        return await self._source.claim(limit)

    async def recover(self) -> Sequence[LeasedStep]:
        """Pass on."""
        return await self._source.recover()

    async def next_due(self) -> float | None:
        """Pass on."""
        return await self._source.next_due()

    async def release(self, leases: Sequence[LeaseKey]) -> None:
        """Pass on."""
        await self._source.release(leases)

    def heartbeats(self) -> contextlib.AbstractAsyncContextManager[Renew]:
        """Pass on."""
        return self._source.heartbeats()
