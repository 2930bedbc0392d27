"""``tasker run``: a template, its handlers and an input, run to the end."""

import shlex
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID, uuid4

import typer
from rich.markup import escape

from tasker_core import handler_loading, serialization
from tasker_core.cli import running
from tasker_core.cli.common import DatabaseOption, read_context, run_async
from tasker_core.cli.errors import errors_explained
from tasker_core.cli.output import (
    ExitCode,
    JsonOption,
    Options,
    complain,
    examples,
    fail,
    out,
    print_json,
    reserve_stdout,
    styled_state,
    warn,
)
from tasker_core.handler import HandlerRegistry
from tasker_core.orchestration import TaskRequest
from tasker_core.registry import HandlerDefinition, ResolverNotFoundError
from tasker_core.states import TaskState
from tasker_core.template import Severity, TaskTemplate, TemplateError, discover, inspect_file
from tasker_core.template.findings import did_you_mean
from tasker_core.worker.worker import DEFAULT_CONCURRENCY

#: Characters of a result, and results, that are printed; all of them are in `tasker task steps`.
_RESULT_WIDTH = 240
_MOST_RESULTS = 50

_MOST_WARNINGS = 5

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
    template: Annotated[
        Path, typer.Argument(metavar="TEMPLATE", help="Template file, or a directory of templates (then see --task).")
    ],
    handlers: Annotated[
        list[str] | None,
        typer.Option(
            "--handlers",
            metavar="MODULE_OR_PATH",
            help="Where handlers are: a module, a file or a directory; may be repeated. handlers.py, handlers/ and "
            "*_handler(s).py beside the template are found without it.",
        ),
    ] = None,
    context: Annotated[
        str | None,
        typer.Option("--context", "-c", metavar="JSON|@FILE|-", help="The task's input, a JSON object.  Default: {}"),
    ] = None,
    task: Annotated[
        str | None, typer.Option("--task", metavar="NAME", help="Which template to run, if there are several.")
    ] = None,
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
        chosen, file = _choose(template, task)
        registry = _registry_for(chosen, file, handlers or [])
        job = running.Job(
            template=chosen,
            registry=registry,
            request=request,
            resumed=resume,
            timeout=timeout,
            concurrency=concurrency,
            database_url=database_url,
            quiet=as_json or Options.quiet,
        )
        outcome = run_async(lambda: running.run(job))
        _print(outcome, chosen, as_json)
    if outcome["status"] == TaskState.COMPLETE:
        return
    if TaskState(outcome["status"]).is_resting:
        raise typer.Exit(ExitCode.TASK_FAILED)
    options = [argument for reference in handlers or [] for argument in ("--handlers", reference)]
    options += ["--task", task] if task else []
    command = shlex.join(["tasker", "run", str(template), *options, "--resume", outcome["task_uuid"]])
    warn(f"the task is not over; go on with it:  {command}")
    raise typer.Exit(ExitCode.FAILED)


def _print(outcome: dict[str, Any], template: TaskTemplate, as_json: bool) -> None:
    if as_json:
        print_json(outcome)
        return
    for step in outcome["steps"]:
        if step["error"] and step["current_state"] not in {"complete", "resolved_manually"}:
            complain(f"{step['name']}: {step['error']['message']}")
    steps = [step for step in outcome["steps"] if step["result"] is not None]
    if len(steps) > _MOST_RESULTS:
        # What nothing else builds upon is what the task was run for.
        used = {name for step in template.steps for name in step.dependencies}
        steps = [step for step in steps if step["template_step"] not in used]
    for step in steps[:_MOST_RESULTS]:
        text = serialization.dumps(step["result"])
        short = text if len(text) <= _RESULT_WIDTH else f"{text[:_RESULT_WIDTH]}…"
        out.print(f"[bold]{escape(step['name'])}[/] {escape(short)}", soft_wrap=True)
    if len(steps) > _MOST_RESULTS:
        out.print(f"[dim]… and {len(steps) - _MOST_RESULTS} more: tasker task steps {outcome['task_uuid']}[/]")
    seconds = outcome["duration_ms"] / 1000
    out.print(f"{styled_state(outcome['status'])} {outcome['task_uuid']} in {seconds:.2f} s", soft_wrap=True)


def _choose(path: Path, name: str | None) -> tuple[TaskTemplate, Path]:
    """Return the template to run and its file."""
    if not path.exists():
        fail(f"there is no file or directory {path}", ExitCode.NOT_FOUND)
    if path.is_dir():
        return _choose_in_directory(path, name)
    template, report = inspect_file(path)
    if template is None:
        raise TemplateError(report.findings)
    warnings = [finding for finding in report.findings if finding.severity is Severity.WARNING]
    for finding in warnings[:_MOST_WARNINGS]:
        warn(str(finding))
    if len(warnings) > _MOST_WARNINGS:
        warn(f"and {len(warnings) - _MOST_WARNINGS} more; see tasker template validate {shlex.quote(str(path))}")
    if name not in {None, template.name}:
        fail(f"{path} holds the template {template.name}, not {name}", ExitCode.NOT_FOUND)
    return template, path


def _choose_in_directory(path: Path, name: str | None) -> tuple[TaskTemplate, Path]:
    found = discover([path])
    candidates = [entry for entry in found.templates if name in {None, entry.template.name}]
    names = ", ".join(sorted(entry.template.name for entry in found.templates))
    if not candidates and found.failures:
        raise TemplateError(finding for failure in found.failures for finding in failure.findings)
    if not candidates:
        fail(f"{path} holds no template {name or 'at all'}; it holds: {names or 'none'}", ExitCode.NOT_FOUND)
    if len(candidates) > 1:
        fail(f"{path} holds several templates; choose one with --task: {names}", ExitCode.USAGE)
    return candidates[0].template, candidates[0].path


def _registry_for(template: TaskTemplate, file: Path, references: list[str]) -> HandlerRegistry:
    """Load the handlers and refuse to start a task whose steps lack one; say which, and what there is instead."""
    registry = HandlerRegistry()
    for reference in references:
        if handler_loading.load_handlers(registry, reference) == 0:
            warn(f"there are no handlers in {reference}")
    searched = [*references, *map(str, handler_loading.load_handlers_beside(registry, file))]
    missing = []
    for step in template.steps:
        try:
            if registry.resolve(HandlerDefinition.from_dict(step.to_dict()["handler"])) is not None:
                continue
            hint = did_you_mean(step.handler.callable, registry.list_handlers())
        except ResolverNotFoundError as error:
            hint = str(error)
        method = f" with method {step.handler.method}" if step.handler.method else ""
        missing.append(f"  step {step.name}: {step.handler.callable}{method}" + (f" ({hint})" if hint else ""))
    if missing:
        known = ", ".join(sorted(registry.list_handlers())) or "none"
        fail(
            "no handler for:\n" + "\n".join(missing) + f"\nSearched: {', '.join(searched) or 'nothing'}"
            f"\nFound:    {known}\nName more places with --handlers MODULE_OR_PATH."
        )
    return registry
