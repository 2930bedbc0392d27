"""What the commands that change something share: who and why, the step they mean, and how a change is told."""

import getpass
from collections.abc import Awaitable, Callable
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.markup import escape
from rich.table import Table

from tasker_core.cli.common import operator, run_async
from tasker_core.cli.errors import errors_explained
from tasker_core.cli.output import out, print_json, styled_state, success, warn
from tasker_core.cli.remote_operator import Operator

#: Steps of a change that are printed; all of them are in `--json`.
_MOST_STEPS = 20

#: What a verb says of a task on which it has nothing to do.
_ALREADY = {"cancel": "is cancelled already", "pause": "is paused already", "resume": "is not paused"}


def login_name() -> str:
    """Return the name of the user of the operating system, or ``unknown``."""
    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):  # which of them depends on the version of Python
        return "unknown"


def meaningful(text: str | None) -> str | None:
    """Refuse a text that says nothing or that the database cannot hold."""
    if text is None:
        return None
    if not text.strip():
        raise typer.BadParameter("it must not be empty")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise typer.BadParameter("it is not UTF-8 text") from None
    return text.strip()


def named_or_login(actor: str) -> str | None:
    """Return a name that is given, or else the login name."""
    return meaningful(actor or login_name())


_reason = typer.Option(
    "-r", "--reason", metavar="TEXT", help="Why it is done; recorded in the history.", callback=meaningful
)

TaskArgument = Annotated[UUID, typer.Argument(metavar="TASK", help="UUID of the task.")]
StepArgument = Annotated[str, typer.Argument(metavar="STEP", help="Name or UUID of the step.")]
ReasonOption = Annotated[str, _reason]
OptionalReasonOption = Annotated[str | None, _reason]
ActorOption = Annotated[
    str,
    typer.Option(
        "--actor",
        metavar="NAME",
        help="Who does it; recorded in the history.",
        show_default="your login name",
        callback=named_or_login,
    ),
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", metavar="", help="Say what would change, and change nothing.")]


async def step_name(opened: Operator, task: UUID, step: str) -> str:
    """Return the name of a task's step that is given by its name or its UUID."""
    try:
        step_uuid = str(UUID(step))
    except ValueError:
        return step
    names = {found["step_uuid"]: str(found["name"]) for found in await opened.steps(task)}
    return names.get(step_uuid, step)


def perform(verb: Callable[[Operator], Awaitable[dict[str, Any]]], database_url: str | None, as_json: bool) -> None:
    """Let the engine change something, and tell the change."""

    async def work() -> dict[str, Any]:
        async with operator(database_url) as opened:
            return await verb(opened)

    with errors_explained():
        change = run_async(work)
        if as_json:
            print_json(change)
        else:
            print_change(change)


def print_change(change: dict[str, Any]) -> None:
    """Print what a verb changed, or would change, of a task."""
    verb, task, before, after = change["verb"], change["task_uuid"], change["from_state"], change["to_state"]
    if not change["changed"]:
        success(f"nothing to do: task {task} {_ALREADY.get(verb, f'is {before} and stays so')}")
        return
    move = before if before == after else f"{before} → {after}"
    if change["dry_run"]:
        warn(f"dry run of {verb}, nothing is changed")
        out.print(f"task {task}: {escape(move)}", soft_wrap=True)
    else:
        success(f"{verb}: task {task}: {move}")
    _print_steps(
        [(step["step"], step["from_state"], styled_state(step["to_state"])) for step in change["steps"]]
        + [(name, "", "[magenta]removed[/]") for name in change["removed"]]
    )


def _print_steps(rows: list[tuple[str, str, str]]) -> None:
    if not rows:
        return
    table = Table("Step", "From", "To", box=None, header_style="bold")
    for name, before, after in rows[:_MOST_STEPS]:
        table.add_row(escape(name), before, after)
    out.print(table)
    if len(rows) > _MOST_STEPS:
        out.print(f"[dim]… and {len(rows) - _MOST_STEPS} more; all are in --json[/]")
