"""``tasker run``: a template, its handlers and an input, run to the end."""

import asyncio
import contextlib
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.markup import escape

from tasker_core import handler_loading, serialization
from tasker_core.cli import progress
from tasker_core.cli.common import DatabaseOption, JsonOption, engine, parse_uuid, read_context, run_async
from tasker_core.cli.output import (
    ExitCode,
    err,
    errors_explained,
    fail,
    out,
    print_json,
    styled_state,
    warn,
)
from tasker_core.handler import HandlerRegistry
from tasker_core.orchestration import Engine, TaskRequest
from tasker_core.registry import HandlerDefinition, ResolverNotFoundError
from tasker_core.states import TaskState
from tasker_core.template import Severity, TaskTemplate, TemplateError, discover, inspect_file
from tasker_core.template.findings import did_you_mean
from tasker_core.worker import Worker
from tasker_core.worker.worker import DEFAULT_CONCURRENCY

#: Characters of a result that are printed; the rest is in `tasker task steps`.
_RESULT_WIDTH = 600


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
        str, typer.Option("--context", "-c", metavar="JSON|@FILE|-", help="The task's input, a JSON object.")
    ] = "{}",
    task: Annotated[
        str | None, typer.Option("--task", metavar="NAME", help="Which template to run, if there are several.")
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option("--resume", metavar="TASK_UUID", help="Go on with this task instead of creating a new one."),
    ] = None,
    timeout: Annotated[
        float | None, typer.Option("--timeout", min=0.0, metavar="SECONDS", help="Stop waiting after this long.")
    ] = None,
    concurrency: Annotated[
        int, typer.Option("--concurrency", min=1, max=10_000, help="Handlers that run at once.")
    ] = DEFAULT_CONCURRENCY,
    database_url: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run a task to its end and print its results.

    Progress goes to stderr, results to stdout. The exit code is 0 if the task completed, 6 if it ended in failure,
    1 if the time was up or the input was refused. A task that is interrupted stays in the database; --resume goes on
    with it.
    """
    with errors_explained():
        chosen, file = _choose(template, task)
        registry = HandlerRegistry()
        for reference in handlers or []:
            if handler_loading.load_handlers(registry, reference) == 0:
                warn(f"no handlers in {escape(reference)}")
        searched = handler_loading.load_handlers_beside(registry, file)
        _require_handlers(chosen, registry, [*(handlers or []), *map(str, searched)])
        request = TaskRequest(
            context=read_context(context), initiator="tasker run", source_system="cli", reason="tasker run"
        )
        resumed = parse_uuid(resume) if resume else None
        outcome = run_async(
            lambda: _run(chosen, registry, request, resumed, timeout, concurrency, database_url, quiet=as_json)
        )
        _print(outcome, as_json)
    if outcome["status"] == TaskState.COMPLETE:
        return
    if TaskState(outcome["status"]).is_resting:
        raise typer.Exit(ExitCode.TASK_FAILED)
    warn(f"the task goes on when its handlers run again: tasker run {template} --resume {outcome['task_uuid']}")
    raise typer.Exit(ExitCode.FAILED)


async def _run(
    template: TaskTemplate,
    registry: HandlerRegistry,
    request: TaskRequest,
    resumed: UUID | None,
    timeout: float | None,
    concurrency: int,
    database_url: str | None,
    *,
    quiet: bool,
) -> dict[str, Any]:
    started = time.monotonic()
    callables = sorted({step.handler.callable for step in template.steps})
    async with engine(database_url, may_migrate=True, announce=not quiet) as opened:
        wake = asyncio.Event()
        task_uuid = resumed
        if task_uuid is None:
            task_uuid = await opened.create_task(template, request)
        else:
            await opened.task(task_uuid)
        if not quiet:
            err.print(f"[dim]Task {task_uuid} ({escape(template.identity)})[/]")
        async with opened.worker_source(callables, on_ready=lambda: worker.wake()) as source:
            worker = Worker(source, registry, concurrency=concurrency, shutdown_timeout=10.0)
            working = asyncio.create_task(worker.run())
            with _signals_set(wake):
                showing = contextlib.nullcontext() if quiet else progress.shown(opened, task_uuid, template, err)
                async with showing:
                    await _until_over(opened, task_uuid, timeout, wake, working)
            worker.stop()
            await working
        return await _outcome(opened, task_uuid, time.monotonic() - started)


async def _until_over(
    opened: Engine, task_uuid: UUID, timeout: float | None, interrupted: asyncio.Event, working: "asyncio.Task[None]"
) -> None:
    """Wait for the task, a signal, the time limit or a failure of the worker, whichever comes first."""
    waiting = asyncio.create_task(opened.wait(task_uuid))
    signalled = asyncio.create_task(interrupted.wait())
    pending = {waiting, signalled, working}
    try:
        done, _ = await asyncio.wait(pending, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        for finished in done:
            finished.result()
    finally:
        for unneeded in (waiting, signalled):
            unneeded.cancel()
        await asyncio.gather(waiting, signalled, return_exceptions=True)


@contextlib.contextmanager
def _signals_set(event: asyncio.Event) -> Iterator[None]:
    """Let SIGINT and SIGTERM set an event: what runs is finished and recorded before the process ends."""
    loop = asyncio.get_running_loop()
    handled = []
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError, RuntimeError):
            loop.add_signal_handler(number, event.set)
            handled.append(number)
    try:
        yield
    finally:
        for number in handled:
            loop.remove_signal_handler(number)


async def _outcome(opened: Engine, task_uuid: UUID, seconds: float) -> dict[str, Any]:
    task = await opened.task(task_uuid)
    return {
        "task_uuid": str(task_uuid),
        "status": task["state"],
        "steps": [
            {
                "name": step["name"],
                "current_state": step["state"],
                "attempts": step["attempts"],
                "result": step["result"],
                "error": step["error"],
            }
            for step in await opened.steps(task_uuid)
        ],
        "duration_ms": round(seconds * 1000, 1),
    }


def _print(outcome: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(outcome)
        return
    for step in outcome["steps"]:
        if step["error"] and step["current_state"] != "complete":
            err.print(f"[red]{escape(step['name'])}: {escape(step['error']['message'])}[/]")
        if step["result"] is not None:
            text = serialization.dumps(step["result"])
            short = text if len(text) <= _RESULT_WIDTH else f"{text[:_RESULT_WIDTH]}…"
            out.print(f"[bold]{escape(step['name'])}[/] {escape(short)}")
    out.print(f"{styled_state(outcome['status'])} {outcome['task_uuid']} in {outcome['duration_ms'] / 1000:.2f} s")


def _choose(path: Path, name: str | None) -> tuple[TaskTemplate, Path]:
    """Return the template to run and its file."""
    if path.is_dir():
        found = discover([path])
        candidates = [entry for entry in found.templates if name in {None, entry.template.name}]
        if len(candidates) == 1:
            return candidates[0].template, candidates[0].path
        if not candidates and found.failures:
            raise TemplateError(finding for failure in found.failures for finding in failure.findings)
        names = sorted(entry.template.name for entry in found.templates)
        if not candidates:
            fail(
                f"{path} holds no template {name or 'at all'}; it holds: {', '.join(names) or 'none'}",
                ExitCode.NOT_FOUND,
            )
        fail(f"{path} holds several templates; choose one with --task: {', '.join(names)}", ExitCode.USAGE)
    template, report = inspect_file(path)
    if template is None:
        raise TemplateError(report.findings)
    for finding in report.findings:
        if finding.severity is Severity.WARNING:
            warn(escape(str(finding)))
    if name not in {None, template.name}:
        fail(f"{path} holds the template {template.name}, not {name}", ExitCode.NOT_FOUND)
    return template, path


def _require_handlers(template: TaskTemplate, registry: HandlerRegistry, searched: list[str]) -> None:
    """Refuse to start a task whose steps have no handler; say which, and what there is instead."""
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
