"""``tasker worker``: runs steps of tasks that others create, until it is told to stop."""

from pathlib import Path
from typing import Annotated

import typer

from tasker_core.cli.common import DatabaseOption, run_async
from tasker_core.cli.errors import errors_explained
from tasker_core.cli.handlers import HandlersOption
from tasker_core.cli.output import Options, examples
from tasker_core.cli.serving import Job, serve
from tasker_core.cli.supervision import supervise
from tasker_core.cli.waiting import PATIENCE_SECONDS, PatienceOption
from tasker_core.configuration import Settings

app = typer.Typer(add_completion=False)


@app.command(
    epilog=examples(
        "tasker worker order.yaml",
        "tasker -v worker workflows/ --handlers shop.handlers --concurrency 50",
        "tasker worker workflows/ --processes 4 --database-url postgresql://user@host/name",
        "tasker worker workflows/ --server https://tasker.example --health-bind 0.0.0.0:8081",
    )
)
def worker(
    templates: Annotated[
        list[Path],
        typer.Argument(metavar="TEMPLATE...", help="Template files, or directories of templates, whose steps to run."),
    ],
    handlers: HandlersOption = None,
    concurrency: Annotated[
        int | None,
        typer.Option(
            "--concurrency",
            min=1,
            max=10_000,
            metavar="N",
            help="Handlers that run at once in a process.  Default: worker.concurrency, which is 10",
        ),
    ] = None,
    processes: Annotated[
        int,
        typer.Option(
            "--processes", min=1, max=1_000, metavar="N", help="Worker processes, for handlers that compute a lot."
        ),
    ] = 1,
    shutdown_timeout: Annotated[
        float | None,
        typer.Option(
            "--shutdown-timeout",
            min=0.0,
            metavar="SECONDS",
            help="How long running handlers may take to finish.  Default: worker.shutdown_timeout_seconds, which is 30",
        ),
    ] = None,
    allow_missing: Annotated[
        bool,
        typer.Option("--allow-missing", metavar="", help="Leave steps without a handler here to other workers."),
    ] = False,
    namespaces: Annotated[
        list[str] | None,
        typer.Option(
            "-n",
            "--namespace",
            metavar="NAME",
            help="Where to take steps from; may be repeated.  Default: the templates' namespaces",
        ),
    ] = None,
    health_bind: Annotated[
        str | None,
        typer.Option(
            "--health-bind",
            metavar="HOST:PORT",
            help="Where to answer /health, /health/ready and /metrics; with --processes, each takes the next port.",
        ),
    ] = None,
    patience: PatienceOption = PATIENCE_SECONDS,
    supervisor: Annotated[int | None, typer.Option("--supervisor", hidden=True)] = None,
    database_url: DatabaseOption = None,
) -> None:
    """Run steps of the templates' tasks until told to stop.

    With --server or a profile it works for that server and needs no database; otherwise it works on the database
    itself. The templates are registered there, so that tasks can be created by name.

    SIGTERM or Ctrl-C: nothing more is started, and running handlers may finish; a second one leaves at once.

    Exit codes: 0 it was stopped, 130 or 143 it was made to leave at once.
    """
    with errors_explained():
        settings = Settings.load(
            flags={
                "worker.concurrency": concurrency,
                "worker.shutdown_timeout_seconds": shutdown_timeout,
                "worker.namespaces": namespaces or None,
                "worker.health_bind": health_bind,
            }
        ).settings.worker
        job = Job(
            templates=templates,
            handlers=handlers or [],
            allow_missing=allow_missing,
            concurrency=settings.concurrency,
            name=settings.worker_id if processes == 1 and supervisor is None else None,
            shutdown_timeout=settings.shutdown_timeout_seconds,
            namespaces=settings.namespaces,
            health_bind=settings.health_bind,
            database_url=database_url,
            patience=patience,
            server=Options.server or (None if database_url else settings.server),
        )
        code = run_async(lambda: serve(job, supervisor) if processes == 1 else supervise(job, processes))
    raise typer.Exit(code)
