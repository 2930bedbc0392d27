"""``tasker worker``: runs steps of tasks that others create, until it is told to stop."""

from pathlib import Path
from typing import Annotated

import typer

from tasker_core.cli.common import DatabaseOption, run_async
from tasker_core.cli.errors import errors_explained
from tasker_core.cli.handlers import HandlersOption
from tasker_core.cli.output import examples
from tasker_core.cli.serving import Job, serve
from tasker_core.cli.supervision import supervise
from tasker_core.step_worker.step_worker import DEFAULT_CONCURRENCY, DEFAULT_SHUTDOWN_SECONDS

app = typer.Typer(add_completion=False)


@app.command(
    epilog=examples(
        "tasker worker order.yaml",
        "tasker -v worker workflows/ --handlers shop.handlers --concurrency 50",
        "tasker worker workflows/ --processes 4 --database-url postgresql://user@host/name",
    )
)
def worker(
    templates: Annotated[
        list[Path],
        typer.Argument(metavar="TEMPLATE...", help="Template files, or directories of templates, whose steps to run."),
    ],
    handlers: HandlersOption = None,
    concurrency: Annotated[
        int,
        typer.Option("--concurrency", min=1, max=10_000, metavar="N", help="Handlers that run at once in a process."),
    ] = DEFAULT_CONCURRENCY,
    processes: Annotated[
        int,
        typer.Option(
            "--processes", min=1, max=1_000, metavar="N", help="Worker processes, for handlers that compute a lot."
        ),
    ] = 1,
    shutdown_timeout: Annotated[
        float,
        typer.Option(
            "--shutdown-timeout", min=0.0, metavar="SECONDS", help="How long running handlers may take to finish."
        ),
    ] = DEFAULT_SHUTDOWN_SECONDS,
    allow_missing: Annotated[
        bool,
        typer.Option("--allow-missing", metavar="", help="Leave steps without a handler here to other workers."),
    ] = False,
    supervisor: Annotated[int | None, typer.Option("--supervisor", hidden=True)] = None,
    database_url: DatabaseOption = None,
) -> None:
    """Run steps of the templates' tasks until told to stop.

    Tasks come from tasker task create, and from every other process on the same database.

    SIGTERM or Ctrl-C: nothing more is started, and running handlers may finish; a second one leaves at once.

    Exit codes: 0 it was stopped, 130 or 143 it was made to leave at once.
    """
    job = Job(
        templates=templates,
        handlers=handlers or [],
        allow_missing=allow_missing,
        concurrency=concurrency,
        shutdown_timeout=shutdown_timeout,
        database_url=database_url,
    )
    with errors_explained():
        code = run_async(lambda: serve(job, supervisor) if processes == 1 else supervise(job, processes))
    raise typer.Exit(code)
