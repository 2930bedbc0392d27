"""``tasker server``: the HTTP API, until it is told to stop."""

from dataclasses import dataclass
from typing import Annotated, Any

import structlog
import typer
from rich.markup import escape

from tasker_core.cli.common import DatabaseOption, require_no_server, run_async
from tasker_core.cli.errors import errors_explained
from tasker_core.cli.output import Options, err, examples, warn
from tasker_core.cli.service_logs import configure_service_logs
from tasker_core.cli.waiting import PATIENCE_SECONDS, PatienceOption, entered
from tasker_core.cli.working import first_of, stops_requested
from tasker_core.configuration import Settings, check_server
from tasker_core.runtime import open_database, open_engine
from tasker_core.server.serving import HttpServer, listening
from tasker_core.service import service_address, service_app
from tasker_core.step_worker.collector import calm_collector

app = typer.Typer(add_completion=False)

log = structlog.get_logger("tasker.server")


@dataclass(frozen=True, slots=True)
class Job:
    """What to serve, and how.

    Attributes:
        settings: everything that can be set.
        may_migrate: bring the schema up to date first; the embedded database's always is.
        shared_port: let other processes listen on the same port.
        patience: seconds to wait for the database.
    """

    settings: Settings
    may_migrate: bool
    shared_port: bool
    patience: float


@app.command(
    epilog=examples(
        "tasker server",
        "tasker server --bind 127.0.0.1:9000 --database-url postgresql://user@host/name",
        "tasker server --config tasker.toml --migrate",
        "tasker config explain server.auth.enabled",
    )
)
def server(
    bind: Annotated[
        str | None,
        typer.Option(
            "--bind", metavar="HOST:PORT", help="Where to listen; port 0 takes a free one.  Default: server.bind"
        ),
    ] = None,
    database_url: DatabaseOption = None,
    migrate: Annotated[
        bool, typer.Option("--migrate", metavar="", help="Bring the database's schema up to date first.")
    ] = False,
    allow_unauthenticated: Annotated[
        bool,
        typer.Option(
            "--allow-unauthenticated",
            metavar="",
            help="Serve without authentication, even where other machines can reach the server.",
        ),
    ] = False,
    shared_port: Annotated[
        bool,
        typer.Option(
            "--shared-port",
            metavar="",
            help="Let more servers of this machine listen on the same port, to use its CPUs.",
        ),
    ] = False,
    patience: PatienceOption = PATIENCE_SECONDS,
) -> None:
    """Serve the HTTP API until told to stop.

    Any number of servers may share a database; each of them can do everything, and none is needed for the others.
    The API, which workers use, too, is described at /api-docs/ui.

    It logs when it starts and stops and what goes wrong; -v logs each request, too. log.level and log.format of the
    configuration say how much and in which form.

    SIGTERM or Ctrl-C: no more connections are taken, whatever waits for something is answered, and requests under way
    may finish; a second one leaves at once.

    Exit codes: 0 it was stopped, 2 a setting cannot be used, 5 the database cannot be reached, 130 or 143 it was
    made to leave at once.
    """
    require_no_server("tasker server")
    flags: dict[str, Any] = {
        "server.bind": bind,
        "database.url": database_url,
        "server.allow_unauthenticated": allow_unauthenticated or None,
    }
    with errors_explained():
        loaded = Settings.load(flags=flags)
        check_server(loaded)
        configure_service_logs(loaded.settings.log)
        for warning in loaded.warnings:
            warn(str(warning))
        code = run_async(lambda: serve(Job(loaded.settings, migrate, shared_port, patience)))
    raise typer.Exit(code)


async def serve(job: Job) -> int:
    """Serve until a signal says to stop; return the exit code."""
    calm_collector()
    settings = job.settings
    with open_database(settings) as database, stops_requested() as requests:
        opening = entered(
            lambda: open_engine(settings, database, may_migrate=job.may_migrate), requests.stop, patience=job.patience
        )
        async with opening as engine:
            if engine is None:
                return 0
            app = service_app(engine, settings, log_requests=Options.verbosity > 0)
            address = service_address(settings, shared=job.shared_port)
            shutdown_seconds = settings.server.shutdown_timeout_seconds
            async with listening(app, address, shutdown_seconds=shutdown_seconds) as started:
                _announce(started, settings, database.description)
                await first_of(started.running, requests.stop)
                _tell_stop(settings)
                started.stop()
                await first_of(started.running, requests.leave)
                if not started.running.done():
                    started.leave()
                    return requests.exit_code
                return 0


def _announce(started: HttpServer, settings: Settings, database: str) -> None:
    if settings.log.format == "json":
        log.info("listening", url=started.url, authentication=settings.server.auth.enabled, database=database)
    elif not Options.quiet:
        access = "with authentication" if settings.server.auth.enabled else "without authentication"
        err.print(f"Listening on {escape(started.url)}, {access}; [dim]{escape(database)}[/]", soft_wrap=True)


def _tell_stop(settings: Settings) -> None:
    seconds = settings.server.shutdown_timeout_seconds
    if settings.log.format == "json":
        log.info("stopping", shutdown_timeout_seconds=seconds)
    elif not Options.quiet:
        err.print(f"Stopping: requests under way may take {seconds:g} s (another signal leaves at once)")
