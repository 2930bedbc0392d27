"""``tasker dev``: database, server and worker in one command, renewed when a file changes."""

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
import watchfiles
from rich.markup import escape

from tasker_core.cli.common import DatabaseOption, require_no_server, run_async
from tasker_core.cli.errors import errors_explained
from tasker_core.cli.handlers import HandlersOption
from tasker_core.cli.output import Options, complain, configure_output, err, examples, warn
from tasker_core.cli.templates import require_paths
from tasker_core.cli.working import first_of, stops_requested
from tasker_core.configuration import Settings
from tasker_core.orchestration import Engine
from tasker_core.runtime import open_database, open_engine
from tasker_core.server.serving import listening
from tasker_core.service import service_address, service_app
from tasker_core.template import discover

#: Seconds that handlers have to finish when their code has changed; then they start again, with the new code.
_DRAIN_SECONDS = 2.0

#: Files whose change matters.
_ENDINGS = (".py", ".yaml", ".yml")

app = typer.Typer(add_completion=False)


@dataclass(frozen=True, slots=True)
class Job:
    """What to develop.

    Attributes:
        settings: everything that can be set.
        paths: templates, and directories of them.
        handlers: where handlers are, besides those beside the templates.
    """

    settings: Settings
    paths: Sequence[Path]
    handlers: Sequence[str]

    @property
    def watched(self) -> list[Path]:
        """What to watch: the templates' directories, and where handlers are files."""
        places = [path if path.is_dir() else path.parent for path in self.paths]
        places += [Path(reference) for reference in self.handlers if Path(reference).exists()]
        return sorted({place.resolve() for place in places})


@app.command(
    epilog=examples(
        "tasker dev workflows/",
        "tasker dev order.yaml --handlers shop.handlers --bind 127.0.0.1:9000",
        "tasker task create order.yaml --context '{\"order_id\": 7}' --server http://127.0.0.1:8080 --wait",
    )
)
def dev(
    templates: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[TEMPLATE]...", help="Template files, or directories of templates.  Default: here"),
    ] = None,
    handlers: HandlersOption = None,
    bind: Annotated[
        str | None, typer.Option("--bind", metavar="HOST:PORT", help="Where to listen.  Default: server.bind")
    ] = None,
    database_url: DatabaseOption = None,
) -> None:
    """Run database, server and worker, and renew them when a file changes.

    Your templates are registered at each change, whatever their version says; handlers are loaded anew. Everything that
    steps do is logged. Only this machine can reach the server, and there is no authentication.

    Ctrl-C ends all of it; tasks are kept and go on the next time.
    """
    require_no_server("tasker dev")
    paths = templates or [Path()]
    with errors_explained():
        require_paths(paths)
        settings = Settings.load(flags={"server.bind": bind, "database.url": database_url}).settings
        configure_output(max(1, Options.verbosity), color=not err.no_color)
        code = run_async(lambda: develop(Job(settings, paths, handlers or [])))
    raise typer.Exit(code)


async def develop(job: Job) -> int:
    """Run everything until a signal says to stop; return the exit code."""
    with open_database(job.settings) as database, stops_requested() as requests:
        async with (
            open_engine(job.settings, database, may_migrate=True) as engine,
            listening(service_app(engine, job.settings), service_address(job.settings), shutdown_seconds=1) as server,
        ):
            err.print(f"[bold]{escape(server.url)}[/]  API: {escape(server.url)}/api-docs/ui", soft_wrap=True)
            err.print(f"[dim]{escape(database.description)}[/]", soft_wrap=True)
            renewing = asyncio.create_task(_keep_renewing(job, engine, server.url))
            try:
                await first_of(renewing, server.running, requests.stop)
            finally:
                renewing.cancel()
                await asyncio.gather(renewing, return_exceptions=True)
    return 0


async def _keep_renewing(job: Job, engine: Engine, url: str) -> None:
    """Run the worker, and another one after each change."""
    changes = watchfiles.awatch(*job.watched, watch_filter=_matters, step=100, rust_timeout=1000)
    changed = asyncio.ensure_future(anext(changes))
    await asyncio.sleep(0)  # it watches from here on, so that no save goes unnoticed
    try:
        while True:
            await _register(job, engine)
            async with _worker(job, url):
                names = sorted({Path(path).name for _, path in await changed})
                changed = asyncio.ensure_future(anext(changes))
            err.print(f"[cyan]changed:[/] {escape(', '.join(names))}", soft_wrap=True)
    finally:
        changed.cancel()
        await asyncio.gather(changed, return_exceptions=True)


def _matters(_change: watchfiles.Change, path: str) -> bool:
    hidden = any(part.startswith(".") or part == "__pycache__" for part in Path(path).parts[-3:])
    return path.endswith(_ENDINGS) and not hidden


async def _register(job: Job, engine: Engine) -> None:
    """Register the templates, as they are now; those that are not valid are named, and stay as they were."""
    found = discover(job.paths)
    for failure in found.failures:
        for finding in failure.findings:
            complain(str(finding))
    for entry in found.templates:
        registration = await engine.templates.register(entry.template, actor="tasker dev", force=True)
        if registration.outcome != "unchanged":
            err.print(f"[green]{registration.outcome}[/] {escape(entry.template.identity)}", soft_wrap=True)
    if not found.templates and not found.failures:
        warn("no templates yet; the first one is noticed when it is written")


@contextlib.asynccontextmanager
async def _worker(job: Job, url: str) -> AsyncIterator[None]:
    """Run a worker in a process of its own while the body runs, if there is something to run."""
    found = discover(job.paths)
    if not found.templates:
        yield
        return
    process = await asyncio.create_subprocess_exec(
        *_command(job, url, [entry.path for entry in found.templates]),
        stdin=asyncio.subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C reaches all processes of a session; it is told by us
    )
    try:
        yield
    finally:
        await _end(process)


def _command(job: Job, url: str, templates: Sequence[Path]) -> list[str]:
    command = [sys.executable, "-m", "tasker_core", *["--verbose"] * max(1, Options.verbosity)]
    command += ["--no-color"] * err.no_color + ["--server", url]
    command += ["worker", "--allow-missing", "--shutdown-timeout", str(_DRAIN_SECONDS)]
    command += [f"--handlers={reference}" for reference in job.handlers]
    return [*command, "--", *map(str, templates)]


async def _end(process: Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), 2 * _DRAIN_SECONDS + 5)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        await process.wait()
