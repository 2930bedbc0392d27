"""A worker in this process, and the signals that stop it."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from tasker_core.handler import HandlerRegistry
from tasker_core.orchestration import Engine
from tasker_core.step_worker import StepWorker


@contextlib.asynccontextmanager
async def working(
    opened: Engine,
    registry: HandlerRegistry,
    callables: Sequence[str],
    *,
    name: str | None = None,
    namespaces: Sequence[str] | None = None,
    **options: Any,
) -> AsyncIterator[tuple[StepWorker, "asyncio.Task[None]"]]:
    """Run a worker until the body ends, which should stop it and wait for it; ``options`` are those of `StepWorker`."""
    source_of = opened.worker_source(
        callables,
        on_ready=lambda: worker.wake(),
        on_cancelled=lambda: worker.check_leases(),
        name=name,
        namespaces=namespaces,
    )
    async with source_of as source:
        worker = StepWorker(source, registry, **options)
        running = asyncio.create_task(worker.run())
        try:
            yield worker, running
        finally:
            running.cancel()  # has no effect if it is done, as it should be
            await asyncio.gather(running, return_exceptions=True)


async def first_of(*awaited: "asyncio.Task[Any] | asyncio.Event") -> None:
    """Wait until a task ends or an event is set; a task's failure is raised, the other tasks go on."""
    waits = {thing: asyncio.create_task(thing.wait()) for thing in awaited if isinstance(thing, asyncio.Event)}
    tasks = {thing for thing in awaited if isinstance(thing, asyncio.Task)}
    try:
        done, _ = await asyncio.wait({*tasks, *waits.values()}, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for wait in waits.values():
            wait.cancel()


class StopRequests:
    """What signals ask for.

    Attributes:
        stop: set by the first SIGINT or SIGTERM.
        leave: set by the second.
        exit_code: that of a process which the last signal has ended.
    """

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.leave = asyncio.Event()
        self.exit_code = 0

    def received(self, number: int) -> None:
        """Take note of a signal."""
        self.exit_code = 128 + number
        (self.leave if self.stop.is_set() else self.stop).set()


@contextlib.contextmanager
def stops_requested() -> Iterator[StopRequests]:
    """Collect SIGINT and SIGTERM while the body runs, instead of ending the process."""
    loop = asyncio.get_running_loop()
    requests = StopRequests()
    handled = []
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError, RuntimeError):
            loop.add_signal_handler(number, requests.received, number)
            handled.append(number)
    try:
        yield requests
    finally:
        for number in handled:
            loop.remove_signal_handler(number)
