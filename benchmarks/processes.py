"""Servers and workers in processes of their own, which end with the measurement, however it ends."""

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import msgspec
import psutil

from benchmarks.measure import MeasurementError
from benchmarks.remote_worker import Assignment, News

_ROOT = Path(__file__).parents[1]

#: Seconds that a process has to end when it is asked to.
_PATIENCE = 15.0

#: Lines of a process's standard error that are shown if it ends too early.
_LAST_LINES = 20


class Member:
    """A process of ours, whose standard error is kept for the case that it ends too early."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._complaints: deque[str] = deque(maxlen=_LAST_LINES)
        self.stopping = False

    def cpu_seconds(self) -> float:
        """Return the processor time that it has used, all threads."""
        times = psutil.Process(self._process.pid).cpu_times()
        return float(times.user + times.system)

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold it still while the body runs."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    async def watch(self) -> None:
        """Read what it says until it ends.

        Raises:
            MeasurementError: nobody asked it to end.
        """
        await asyncio.gather(self._hear(), self._listen())
        if not self.stopping:
            raise MeasurementError(f"a process ended with {await self._process.wait()}:\n" + "".join(self._complaints))

    async def stop(self) -> None:
        """Ask it to end, and end it if it does not."""
        self.stopping = True
        with contextlib.suppress(ProcessLookupError):
            self._ask_to_end()
        try:
            await asyncio.wait_for(self._process.wait(), _PATIENCE)
        except TimeoutError:
            self.kill()
            await self._process.wait()

    def kill(self) -> None:
        """End it at once, if it has not ended."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    def _ask_to_end(self) -> None:
        self._process.terminate()

    async def _hear(self) -> None:
        """Read its standard output."""

    async def _listen(self) -> None:
        """Read its standard error."""
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            self._complaints.append(line.decode(errors="replace"))
            self._said(line.decode(errors="replace"))

    def _said(self, line: str) -> None:
        """Take note of a line of its standard error."""


class ServerProcess(Member):
    """A ``tasker server``."""

    def __init__(self, process: Process) -> None:
        super().__init__(process)
        self._url: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def url(self) -> str:
        """Return where it listens, once it does."""
        return await self._url

    def _said(self, line: str) -> None:
        words = line.replace(",", " ").split()
        if words[:2] == ["Listening", "on"] and not self._url.done():
            self._url.set_result(words[2])


class WorkerProcess(Member):
    """A worker; see `benchmarks.remote_worker`.

    Attributes:
        recorded: steps whose success is recorded, since it began.
        starts: when handlers started, if it tells.
    """

    def __init__(self, process: Process) -> None:
        super().__init__(process)
        self.recorded = 0
        self.starts: asyncio.Queue[float] = asyncio.Queue()
        self._resting = asyncio.Event()
        self._progress: asyncio.Event = asyncio.Event()

    async def rests(self) -> None:
        """Wait until it is ready to run, or has stopped running."""
        await self._resting.wait()

    def run(self) -> None:
        """Let it take steps."""
        self._resting.clear()
        self._tell(b"run\n")

    async def pause(self) -> None:
        """Let it take no more steps, and wait until it has none."""
        self._tell(b"pause\n")
        await self.rests()

    def share_progress(self, progress: asyncio.Event) -> None:
        """Set this event whenever it has recorded something."""
        self._progress = progress

    def _tell(self, line: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line)

    def _ask_to_end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()

    async def _hear(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            news = msgspec.json.decode(line, type=News)
            if news.started_at is not None:
                self.starts.put_nowait(news.started_at)
                continue
            self.recorded = news.recorded
            self._progress.set()
            if not news.running:
                self._resting.set()


async def recorded_by(workers: Iterable[WorkerProcess], steps: int) -> None:
    """Wait until workers have recorded so many steps together."""
    progress = asyncio.Event()
    for worker in workers:
        worker.share_progress(progress)
    while sum(worker.recorded for worker in workers) < steps:
        await progress.wait()
        progress.clear()


class Processes:
    """Starts servers and workers. See :func:`processes`."""

    def __init__(self, database_url: str, directory: str, group: asyncio.TaskGroup) -> None:
        self._database_url = database_url
        self._directory = directory
        self._group = group
        self._members: list[Member] = []

    async def server(self) -> ServerProcess:
        """Start ``tasker server`` on a free port, and return it once it listens."""
        arguments = ["server", "--bind=127.0.0.1:0", f"--database-url={self._database_url}", "--migrate"]
        process = await self._start(sys.executable, "-m", "tasker_core", *arguments)
        server = ServerProcess(process)
        self._add(server)
        await server.url()
        return server

    async def worker(
        self, template: Path, concurrency: int, *, server: ServerProcess | None, tells_starts: bool = False
    ) -> WorkerProcess:
        """Start a worker for a server, or on the database, and return it once it is ready to run."""
        url = None if server is None else await server.url()
        assignment = Assignment(str(template), concurrency, url, self._database_url, tells_starts)
        text = msgspec.json.encode(assignment).decode()
        command = [sys.executable, "-m", "benchmarks.remote_worker", text]
        worker = WorkerProcess(await self._start(*command, talks=True))
        self._add(worker)
        await worker.rests()
        return worker

    async def sdk_worker(self, command: Sequence[str], settings: Mapping[str, str]) -> Member:
        """Start a worker that is a program of its own, with these environment variables."""
        worker = Member(await self._start(*command, settings=settings))
        self._add(worker)
        return worker

    async def stop(self) -> None:
        """End all, the last one first, so that workers can say goodbye."""
        for member in self._members:
            member.stopping = True
        try:
            for member in reversed(self._members):
                await member.stop()
        finally:
            for member in self._members:
                member.kill()

    def _add(self, member: Member) -> None:
        self._members.append(member)
        self._group.create_task(member.watch())

    async def _start(
        self, *command: str, talks: bool = False, settings: Mapping[str, str] = MappingProxyType({})
    ) -> Process:
        # Settings of whoever measures must not change what is measured.
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("TASKER_", "DATABASE_URL"))
        }
        environment |= {"PYTHONPATH": str(_ROOT), **settings}
        pipe = PIPE if talks else DEVNULL
        return await asyncio.create_subprocess_exec(
            *command,
            cwd=self._directory, env=environment, stdin=pipe, stdout=pipe, stderr=PIPE,
        )  # fmt: skip


@contextlib.asynccontextmanager
async def processes(database_url: str) -> AsyncIterator[Processes]:
    """Yield what starts servers and workers on a database; they end with the block.

    Raises:
        MeasurementError: one of them ended before; the block is cancelled then.
    """
    with tempfile.TemporaryDirectory(prefix="tasker-bench-") as directory:
        try:
            async with asyncio.TaskGroup() as group:
                started = Processes(database_url, directory, group)
                try:
                    yield started
                finally:
                    await started.stop()
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None
