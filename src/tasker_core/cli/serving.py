"""One worker process, on the database or for a server, until a signal stops it."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import structlog
from rich.markup import escape

from tasker_core.cli.employment import Assignment, employment
from tasker_core.cli.handlers import FoundHandlers, find_handlers
from tasker_core.cli.output import Options, err, fail, warn
from tasker_core.cli.templates import load_all
from tasker_core.cli.waiting import entered
from tasker_core.cli.working import StopRequests, first_of, stops_requested
from tasker_core.step_worker import StepWorker
from tasker_core.step_worker.collector import calm_collector


@dataclass(frozen=True, slots=True)
class Job:
    """What to serve, and how.

    Attributes:
        templates: files and directories with the templates.
        handlers: where handlers are, besides those beside the templates.
        allow_missing: serve what has handlers, even if some have none.
        concurrency: handlers that run at once, in each process.
        name: its name in the history; ``hostname-pid`` if None.
        shutdown_timeout: seconds that running handlers have to finish once the process is told to stop.
        namespaces: where to take steps from; if there are none, from the namespaces of the templates.
        health_bind: ``host:port`` where to answer health checks; None for nowhere.
        database_url: where to connect, if not to the configured database.
        server: URL of the server to work for, if that is said.
        patience: seconds to wait for the database or the server.
    """

    templates: Sequence[Path]
    handlers: Sequence[str]
    allow_missing: bool
    concurrency: int
    name: str | None
    shutdown_timeout: float
    namespaces: Sequence[str]
    health_bind: str | None
    database_url: str | None
    server: str | None
    patience: float


class Serving(msgspec.Struct, frozen=True):
    """What a worker that is ready serves, ``where``, and where it answers health checks."""

    templates: int
    handlers: int
    where: str
    health: str | None = None

    def announce(self, job: Job, who: str) -> None:
        """Print it as one line."""
        if not Options.quiet:
            health = f"; health checks at {self.health}" if self.health else ""
            err.print(
                f"[dim]{escape(who)}: {_count(self.handlers, 'handler')} of {_count(self.templates, 'template')}, "
                f"{job.concurrency} at once; {escape(self.where + health)}[/]",
                soft_wrap=True,
            )


async def serve(job: Job, supervisor: int | None = None) -> int:
    """Claim and run steps until a signal says to stop; return the exit code.

    Args:
        job: what to serve.
        supervisor: file descriptor of a socket. Once the worker is ready, it writes there what it serves; it stops
            when nobody is at the other end any more. Signals then only stop it, however many.
    """
    templates = load_all(job.templates)
    found = _handlers(find_handlers(templates, job.handlers), job)
    calm_collector()
    name = job.name or f"{socket.gethostname()}-{os.getpid()}"
    if supervisor is not None:
        structlog.contextvars.bind_contextvars(worker=name)  # its lines mix with those of others
    namespaces = list(job.namespaces) or sorted({entry.template.namespace_name for entry in templates})
    assignment = Assignment(name, found, [entry.template for entry in templates], namespaces)
    options = {
        "concurrency": job.concurrency,
        "shutdown_timeout": job.shutdown_timeout,
        "log_steps": Options.verbosity > 0,
    }
    with stops_requested() as requests:
        employed = entered(
            lambda: employment(job.server, job.database_url, assignment, options),
            requests.stop,
            patience=job.patience,
        )
        async with employed as found_work:
            if found_work is None:
                return 0
            worker, running, where = found_work
            async with _health(job.health_bind, worker, name) as health:
                serving = Serving(len(templates), len(found.callables), where, health)
                if supervisor is None:
                    serving.announce(job, f"Worker {name}")
                    await _until_stopped(worker, running, requests, job)
                    return 0 if running.done() else requests.exit_code
                async with _supervised(supervisor, serving, requests):
                    await _until_stopped(worker, running, requests, job, name)
                    await running
                return 0


def _health(bind: str | None, worker: StepWorker, name: str) -> AbstractAsyncContextManager[str | None]:
    if bind is None:
        return contextlib.nullcontext()
    from tasker_core.cli.worker_health import health_endpoint  # a web framework takes a while to load

    return health_endpoint(bind, worker, name)


async def _until_stopped(
    worker: StepWorker, running: "asyncio.Task[None]", requests: StopRequests, job: Job, name: str = ""
) -> None:
    """Wait for a signal, and then for running handlers or, without a supervisor, for another signal."""
    await first_of(running, requests.stop)
    if worker.running:
        hint = f"{name}: " if name else ""
        how = "" if name else " (another signal leaves at once)"
        warn(f"{hint}stopping; {worker.running} running handler(s) may finish within {job.shutdown_timeout:g} s{how}")
    worker.stop()
    if not name:
        await first_of(running, requests.leave)


def _handlers(found: FoundHandlers, job: Job) -> FoundHandlers:
    if found.missing and not job.allow_missing:
        fail(f"{found.explanation()}\nTo leave these steps to other workers: --allow-missing")
    if not found.callables:
        fail(found.explanation())
    if found.missing:
        warn("left to other workers, since there is no handler for:\n" + "\n".join(found.missing))
    return found


@contextlib.asynccontextmanager
async def _supervised(descriptor: int, serving: Serving, requests: StopRequests) -> AsyncIterator[None]:
    """Tell the supervisor that the worker is ready, and stop when the supervisor says so or is gone."""
    os.set_inheritable(descriptor, False)  # else programs that handlers start would hold it open
    reader, writer = await asyncio.open_unix_connection(sock=socket.socket(fileno=descriptor))

    async def listen() -> None:
        with contextlib.suppress(OSError):
            writer.write(msgspec.json.encode(serving) + b"\n")
            await reader.read()
        requests.stop.set()

    listening = asyncio.create_task(listen())
    try:
        yield
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        writer.close()


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number != 1 else ''}"
