"""A worker in a process of its own, for a server or on the database: ``python -m benchmarks.remote_worker JSON``.

It does what ``tasker worker`` does, with handlers that return at once, and tells on its standard output, one JSON
object a line, what it has done. It takes steps from one line on its standard input to the next, and ends with it.
"""

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec
import structlog
import uvloop

from benchmarks.tasker import AsyncNoop, CountingSource
from tasker_core import StepContext, StepHandler, StepHandlerResult
from tasker_core.handler import HandlerRegistry
from tasker_core.orchestration import Engine
from tasker_core.step_source import ReportAnswer, StepReport, WaitingStepSource
from tasker_core.step_worker import StepWorker
from tasker_core.step_worker.collector import calm_collector
from tasker_core.step_worker.http_source import http_source
from tasker_core.template import load_file


class Assignment(msgspec.Struct, frozen=True):
    """What a worker is for.

    Attributes:
        template: path of the file with the template whose steps it runs.
        concurrency: handlers that run at once.
        server: URL of the server to work for; on the database itself if None.
        database_url: where the database is.
        tells_starts: whether to tell when each handler starts.
    """

    template: str
    concurrency: int
    server: str | None
    database_url: str
    tells_starts: bool = False


class News(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a worker tells.

    Attributes:
        recorded: steps whose success is recorded, since the process began.
        running: whether it takes steps; False once it is ready to.
        started_at: when a handler started, on the machine's monotonic clock, in seconds; None if none did.
    """

    recorded: int = 0
    running: bool = False
    started_at: float | None = None


class _TellingNoop(StepHandler):
    """Tells when it started, and returns."""

    async def call(self, context: StepContext) -> StepHandlerResult:  # noqa: ARG002 - the signature is given
        """Succeed with a small result."""
        _tell(News(running=True, started_at=time.monotonic()))
        return StepHandlerResult.success({"ok": True})


class _TellingSource(CountingSource):
    """Tells after each batch how many steps are recorded."""

    async def report(self, reports: Sequence[StepReport], want: int) -> ReportAnswer:
        """Report and tell."""
        answer = await super().report(reports, want)
        _tell(News(self.recorded, running=True))
        return answer


class _WaitingTellingSource(_TellingSource):
    """The same for a source that waits on the server's side."""

    def __init__(self, source: WaitingStepSource) -> None:
        super().__init__(source)
        self._waiting = source

    @property
    def wait_seconds(self) -> float:
        """How long a claim waits at most."""
        return self._waiting.wait_seconds


class RemoteWorker:
    """The worker of one process."""

    def __init__(self, assignment: Assignment) -> None:
        self._assignment = assignment
        template = load_file(Path(assignment.template))
        self._namespaces = [template.namespace_name]
        self._callables = [step.handler.callable for step in template.steps]
        self._registry = HandlerRegistry()
        for callable_name in self._callables:
            self._registry.register(callable_name, _TellingNoop if assignment.tells_starts else AsyncNoop)
        self._worker: StepWorker | None = None

    async def serve(self) -> None:
        """Run from each line of the standard input to the next, until it ends."""
        lines = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
        async with self._source() as source:
            _tell(News())
            while await lines.readline():
                async with asyncio.TaskGroup() as group:
                    worker = StepWorker(source, self._registry, concurrency=self._assignment.concurrency)
                    self._worker = worker
                    group.create_task(worker.run())
                    await lines.readline()
                    worker.stop()
                _tell(News(source.recorded))

    @contextlib.asynccontextmanager
    async def _source(self) -> AsyncIterator[CountingSource]:
        wanted = self._assignment
        if wanted.server is not None:
            async with http_source(
                wanted.server, callables=self._callables, concurrency=wanted.concurrency, namespaces=self._namespaces
            ) as remote:
                yield _WaitingTellingSource(remote)
            return
        async with (
            Engine(wanted.database_url) as engine,
            engine.worker_source(self._callables, on_ready=self._wake, namespaces=self._namespaces) as local,
        ):
            yield _TellingSource(local)

    def _wake(self) -> None:
        if self._worker is not None:
            self._worker.wake()


def _tell(news: News) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(news) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(30), logger_factory=structlog.PrintLoggerFactory(sys.stderr)
    )
    remote_worker = RemoteWorker(msgspec.json.decode(sys.argv[1], type=Assignment))
    calm_collector()
    uvloop.run(remote_worker.serve())
