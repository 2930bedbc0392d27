"""``tasker run``: a template, its handlers and an input, run to the end."""

import shlex
from typing import Annotated
from uuid import UUID, uuid4

import typer

from tasker_core.cli import running
from tasker_core.cli.common import DatabaseOption, read_context, require_no_server, run_async
from tasker_core.cli.errors import errors_explained
from tasker_core.cli.handlers import HandlersOption, find_handlers
from tasker_core.cli.outcome import exit_code_of, print_outcome
from tasker_core.cli.output import ExitCode, JsonOption, Options, examples, fail, print_json, reserve_stdout, warn
from tasker_core.cli.templates import TemplateArgument, TemplateNameOption, choose
from tasker_core.orchestration import TaskRequest
from tasker_core.step_worker.step_worker import DEFAULT_CONCURRENCY

app = typer.Typer(add_completion=False)


@app.command(
    epilog=examples(
        "tasker run order.yaml --context '{\"order_id\": 7}'",
        "tasker run order.yaml --context @order.json --handlers shop.handlers",
        "generate_order | tasker run order.yaml --context - --json > outcome.json",
        "tasker run order.yaml --resume TASK_UUID",
    )
)
def run(
    template: TemplateArgument,
    handlers: HandlersOption = None,
    context: Annotated[
        str | None,
        typer.Option("--context", "-c", metavar="JSON|@FILE|-", help="The task's input, a JSON object.  Default: {}"),
    ] = None,
    task: TemplateNameOption = None,
    resume: Annotated[
        UUID | None,
        typer.Option("--resume", metavar="TASK_UUID", help="Go on with this task instead of creating a new one."),
    ] = None,
    idempotency_key: Annotated[
        str | None,
        typer.Option(
            "--idempotency-key",
            metavar="KEY",
            help="Names the task: the same key again goes on with the same task.  Default: each run is a new task.",
        ),
    ] = None,
    timeout: Annotated[
        float | None, typer.Option("--timeout", min=0.0, metavar="SECONDS", help="Stop waiting after this long.")
    ] = None,
    concurrency: Annotated[
        int, typer.Option("--concurrency", min=1, max=10_000, metavar="N", help="Handlers that run at once.")
    ] = DEFAULT_CONCURRENCY,
    database_url: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run a task to its end and print its results.

    Progress goes to stderr, results to stdout.

    A task that is interrupted stays in the database; --resume goes on with it.

    Exit codes: 0 the task completed, 6 it ended in failure, 1 it is not over or was refused.
    """
    require_no_server("tasker run")
    if resume is not None and context is not None:
        raise typer.BadParameter("a task that is resumed has its context already", param_hint="--context")
    if as_json:
        reserve_stdout()
    with errors_explained():
        request = TaskRequest(
            context=read_context("{}" if context is None else context),
            initiator="tasker run",
            source_system="cli",
            reason="tasker run",
            idempotency_key=str(uuid4()) if idempotency_key is None else idempotency_key,
        )
        chosen = choose(template, task)
        found = find_handlers([chosen], handlers or [])
        if found.missing:
            fail(found.explanation())
        job = running.Job(
            template=chosen.template,
            registry=found.registry,
            request=request,
            resumed=resume,
            timeout=timeout,
            concurrency=concurrency,
            database_url=database_url,
            quiet=as_json or Options.quiet,
        )
        outcome = run_async(lambda: running.run(job))
        if as_json:
            print_json(outcome)
        else:
            print_outcome(outcome, chosen.template)
    code = exit_code_of(outcome)
    if code is not ExitCode.FAILED:
        raise typer.Exit(code)
    options = [argument for reference in handlers or [] for argument in ("--handlers", reference)]
    options += ["--task", task] if task else []
    command = shlex.join(["tasker", "run", str(template), *options, "--resume", outcome["task_uuid"]])
    warn(f"the task is not over; go on with it:  {command}")
    raise typer.Exit(code)
