"""``tasker task``: create tasks, look at them and act on them."""

from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.markup import escape
from rich.table import Table

from tasker_core.cli import creating, watching
from tasker_core.cli.common import DatabaseOption, operator, read_context, run_async
from tasker_core.cli.errors import errors_explained
from tasker_core.cli.operations import (
    ActorOption,
    DryRunOption,
    OptionalReasonOption,
    ReasonOption,
    TaskArgument,
    meaningful,
    named_or_login,
    perform,
    step_name,
)
from tasker_core.cli.outcome import exit_code_of, print_outcome
from tasker_core.cli.output import (
    ExitCode,
    JsonOption,
    Options,
    err,
    examples,
    first_line,
    out,
    print_json,
    styled_state,
    warn,
)
from tasker_core.cli.remote_operator import Operator
from tasker_core.cli.templates import NamedTemplateArgument, TemplateName, TemplateNameOption, choose_named
from tasker_core.orchestration import TaskFilter, TaskRequest
from tasker_core.orchestration.create_tasks import MAX_PRIORITY
from tasker_core.states import TaskState

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Create tasks, look at them and act on them.",
    epilog=examples(
        "tasker task create order.yaml --context '{\"order_id\": 7}'",
        "tasker task list --status blocked_by_failures",
        "tasker task why TASK_UUID",
        "tasker task retry TASK_UUID",
        "tasker task watch TASK_UUID",
        "tasker task get TASK_UUID --json",
    ),
)


def _labels(tags: list[str] | None) -> list[str]:
    return [label for label in map(meaningful, tags or ()) if label is not None]


@app.command(
    epilog=examples(
        "tasker task create order.yaml --context '{\"order_id\": 7}'",
        "tasker task create shop/order --context '{\"order_id\": 7}' --server https://tasker.example",
        "tasker task create order.yaml --context @order.json --idempotency-key order-7 --return-existing",
        "tasker task create order.yaml --requested-at 2030-01-31T08:00:00Z --priority 5",
        "tasker task create order.yaml --wait --timeout 60 --json",
    )
)
def create(
    template: NamedTemplateArgument,
    context: Annotated[
        str, typer.Option("--context", "-c", metavar="JSON|@FILE|-", help="The task's input, a JSON object.")
    ] = "{}",
    task: TemplateNameOption = None,
    version: Annotated[
        str | None,
        typer.Option(
            "--version", metavar="VERSION", help="Which version of a registered template.", show_default="the newest"
        ),
    ] = None,
    priority: Annotated[
        int,
        typer.Option(
            "--priority",
            min=-MAX_PRIORITY,
            max=MAX_PRIORITY,
            metavar="N",
            help=f"{-MAX_PRIORITY} to {MAX_PRIORITY}; higher comes first.",
        ),
    ] = 0,
    requested_at: Annotated[
        datetime | None,
        typer.Option(
            "--requested-at",
            parser=creating.moment,
            metavar="RFC3339",
            help="When the task is to start, such as 2030-01-31T08:00:00Z.  Default: at once",
        ),
    ] = None,
    idempotency_key: Annotated[
        str | None,
        typer.Option(
            "--idempotency-key",
            metavar="KEY",
            help="Names the request: there is one task a key.  Default: the template's identity_strategy decides",
        ),
    ] = None,
    return_existing: Annotated[
        bool,
        typer.Option("--return-existing", metavar="", help="If there is such a task already, print that one."),
    ] = False,
    tags: Annotated[
        list[str] | None,
        typer.Option("--tag", metavar="TAG", help="A label of the task; may be repeated.", callback=_labels),
    ] = None,
    correlation_id: Annotated[
        UUID | None,
        typer.Option("--correlation-id", metavar="UUID", help="Ties the task to what caused it.  Default: its UUID"),
    ] = None,
    initiator: Annotated[
        str,
        typer.Option(
            "--initiator",
            metavar="NAME",
            help="Who asks for the task.",
            show_default="your login name",
            callback=named_or_login,
        ),
    ] = "",
    reason: Annotated[
        str | None, typer.Option("--reason", "-r", metavar="TEXT", help="Why.", callback=meaningful)
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", metavar="", help="Wait until the task is over.")] = False,
    timeout: Annotated[
        float | None, typer.Option("--timeout", min=0.0, metavar="SECONDS", help="Stop waiting after this long.")
    ] = None,
    database_url: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create a task for workers to run, and print its UUID.

    With --wait, print its results when it is over.

    Exit codes: 0 it was created (with --wait: it completed), 1 it was refused or is not over, 6 it ended in failure.
    """
    if timeout is not None and not wait:
        raise typer.BadParameter("it limits --wait, which is not given", param_hint="--timeout")
    if requested_at is not None and requested_at < datetime.now(UTC):
        warn("--requested-at is in the past: the task starts at once, and its time limits count from then")
    with errors_explained():
        request = TaskRequest(
            context=read_context(context),
            priority=priority,
            correlation_id=correlation_id,
            initiator=initiator,
            source_system="cli",
            reason=reason or "Task requested",
            tags=tags or (),
            requested_at=requested_at,
            idempotency_key=idempotency_key,
        )
        chosen = choose_named(template, task, version)
        job = creating.Job(
            template=chosen if isinstance(chosen, TemplateName) else chosen.template,
            request=request,
            return_existing=return_existing,
            wait=wait,
            timeout=timeout,
            database_url=database_url,
            quiet=as_json or Options.quiet,
        )
        answer, created_from = run_async(lambda: creating.create(job))
        if as_json:
            print_json(answer)
        elif wait:
            print_outcome(answer, created_from)
        else:
            out.print(answer["task_uuid"])
    if wait:
        raise typer.Exit(exit_code_of(answer))


@app.command("list", epilog=examples("tasker task list --namespace shop --name order --limit 5"))
def list_tasks(
    namespace: Annotated[str | None, typer.Option("-n", "--namespace", help="Only this namespace.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="Only tasks of templates of this name.")] = None,
    status: Annotated[TaskState | None, typer.Option("-s", "--status", help="Only tasks in this state.")] = None,
    limit: Annotated[int, typer.Option("-l", "--limit", min=1, max=1000, help="How many at most.")] = 20,
    before: Annotated[
        UUID | None, typer.Option("--before", metavar="TASK", help="Go on after this task, the last of a page.")
    ] = None,
    database_url: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """List tasks, newest first."""

    async def work() -> list[dict[str, Any]]:
        async with operator(database_url) as opened:
            wanted = TaskFilter(
                namespaces=[namespace] if namespace else None, name=name, states=[status] if status else None
            )
            return await opened.tasks(wanted, before=before, limit=limit)

    with errors_explained():
        tasks = run_async(work)
        if as_json:
            print_json({"tasks": tasks})
        elif not tasks:
            err.print("no tasks")
        else:
            table = Table("Task", "Template", "State", "Steps", "Created", box=None, header_style="bold")
            for task in tasks:
                table.add_row(
                    task["task_uuid"],
                    escape(f"{task['namespace']}/{task['name']} {task['version']}"),
                    styled_state(task["status"]),
                    f"{task['completed_steps']}/{task['total_steps']}",
                    task["created_at"][:19],
                )
            out.print(table)


@app.command(epilog=examples("tasker task get 01a20bd2-12f6-7c21-8159-f3ff32000000"))
def get(task: TaskArgument, database_url: DatabaseOption = None, as_json: JsonOption = False) -> None:
    """Show one task."""

    async def work() -> dict[str, Any]:
        async with operator(database_url) as opened:
            return await opened.task(task)

    with errors_explained():
        found = run_async(work)
        if as_json:
            print_json(found)
            return
        rows = {
            "Task": found["task_uuid"],
            "Template": f"{found['namespace']}/{found['name']} {found['version']} ({found['template_digest'][:12]})",
            "Environment": found["environment"] or "none",
            "Progress": f"{found['completed_steps']}/{found['total_steps']} ({found['completion_percentage']:g} %)",
            "Priority": found["priority"],
            "Created": found["created_at"],
            "Started": found["started_at"] or "not yet",
            "Completed": found["completed_at"] or "not yet",
            "Correlation ID": found["correlation_id"],
        }
        out.print(f"  [bold]State:[/] {styled_state(found['status'])}")
        if found["paused_at"] is not None:
            out.print(f"  [bold]Paused:[/] {escape(_pause(found))}", soft_wrap=True)
        for label, value in rows.items():
            out.print(f"  [bold]{label}:[/] {escape(str(value))}")
        for label in ("initiator", "source_system", "reason", "tags"):
            if found[label]:
                out.print(f"  [bold]{label.replace('_', ' ').capitalize()}:[/] {escape(str(found[label]))}")
        out.print("  [bold]Context:[/]", end=" ")
        print_json(found["context"])


@app.command(epilog=examples("tasker task steps 01a20bd2-12f6-7c21-8159-f3ff32000000 --json"))
def steps(task: TaskArgument, database_url: DatabaseOption = None, as_json: JsonOption = False) -> None:
    """Show the steps of a task with their results and errors."""

    async def work() -> list[dict[str, Any]]:
        async with operator(database_url) as opened:
            return await opened.steps(task)

    with errors_explained():
        found = run_async(work)
        if as_json:
            print_json({"task_uuid": str(task), "steps": found})
            return
        table = Table("Step", "State", "Attempts", "After", "Waits for", "Error", box=None, header_style="bold")
        for step in found:
            table.add_row(
                escape(step["name"]),
                styled_state(step["current_state"]),
                f"{step['attempts']}/{step['max_attempts']}",
                escape(", ".join(step["dependencies"])),
                escape(_waits_for(step)),
                escape(first_line(step["error"]["message"])) if step["error"] else "",
            )
        out.print(table)


@app.command(epilog=examples("tasker task history 01a20bd2-12f6-7c21-8159-f3ff32000000"))
def history(task: TaskArgument, database_url: DatabaseOption = None, as_json: JsonOption = False) -> None:
    """Show every state change of a task and its steps, oldest first."""

    async def work() -> list[dict[str, Any]]:
        async with operator(database_url) as opened:
            return await opened.history(task)

    with errors_explained():
        changes = run_async(work)
        if as_json:
            print_json({"task_uuid": str(task), "history": changes})
            return
        table = Table("Time", "Step", "Attempt", "From", "To", "By", "Detail", box=None, header_style="bold")
        for change in changes:
            table.add_row(
                change["occurred_at"][:23].replace("T", " "),
                escape(change["step"] or "(task)"),
                "" if change["attempt"] is None else str(change["attempt"]),
                change["from_state"],
                styled_state(change["to_state"]),
                escape(change["worker"] or change["actor"] or ""),
                escape(first_line(_detail(change))),
            )
        out.print(table)


@app.command(epilog=examples("tasker task watch TASK_UUID", "tasker task watch TASK_UUID --json"))
def watch(
    task: TaskArgument,
    database_url: DatabaseOption = None,
    as_json: Annotated[
        bool, typer.Option("--json", metavar="", help="Print one JSON document a line: each change, and the end.")
    ] = False,
) -> None:
    """Print what happened to a task and what happens to it, until it is over or blocked by failures.

    Exit codes: 0 it completed, 6 it ended in failure or is blocked by failures.
    """
    with errors_explained():
        state = run_async(lambda: watching.watch(task, database_url, as_json=as_json))
    raise typer.Exit(ExitCode.OK if state is TaskState.COMPLETE else ExitCode.TASK_FAILED)


@app.command(epilog=examples("tasker task why TASK_UUID", "tasker task why TASK_UUID charge_card --json"))
def why(
    task: TaskArgument,
    step: Annotated[
        str | None, typer.Argument(metavar="[STEP]", help="Name or UUID of a step.  Default: all steps")
    ] = None,
    database_url: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say of each step why it does not run: what it really waits for."""

    async def work() -> list[dict[str, Any]]:
        async with operator(database_url) as opened:
            return await opened.why(task, None if step is None else await step_name(opened, task, step))

    with errors_explained():
        answers = run_async(work)
        if as_json:
            print_json({"task_uuid": str(task), "steps": answers})
            return
        table = Table("Step", "State", "Why", box=None, header_style="bold")
        for answer in answers:
            table.add_row(
                escape(answer["step"]),
                styled_state(answer["state"]),
                escape(" ".join(answer["explanation"].split())),  # an error in it may have several lines
                style="dim" if answer["blocker"] == "done" else None,
            )
        out.print(table)


@app.command(
    epilog=examples(
        "tasker task cancel TASK_UUID --reason 'the order was withdrawn'",
        "tasker task cancel TASK_UUID --reason 'the order was withdrawn' --dry-run",
    )
)
def cancel(
    task: TaskArgument,
    reason: ReasonOption,
    actor: ActorOption = "",
    dry_run: DryRunOption = False,
    database_url: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """End a task for good: no step of it runs any more.

    Handlers that run are told; what they still report is refused. Steps that are done stay done.
    """
    perform(lambda opened: opened.cancel_task(task, actor=actor, reason=reason, dry_run=dry_run), database_url, as_json)


@app.command(epilog=examples("tasker task pause TASK_UUID --reason 'the bank is down'"))
def pause(
    task: TaskArgument,
    reason: ReasonOption,
    actor: ActorOption = "",
    database_url: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let no further step of a task start until it is resumed.

    Handlers that run may finish, and their results count.
    """
    perform(lambda opened: opened.pause_task(task, actor=actor, reason=reason), database_url, as_json)


@app.command(
    epilog=examples("tasker task resume TASK_UUID", "tasker task resume TASK_UUID --reason 'the bank is back'")
)
def resume(
    task: TaskArgument,
    reason: OptionalReasonOption = None,
    actor: ActorOption = "",
    database_url: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a paused task go on.

    Only the pause ends; workers run the steps. To run a task in this process: tasker run --resume.
    """
    perform(lambda opened: opened.resume_task(task, actor=actor, reason=reason), database_url, as_json)


@app.command(epilog=examples("tasker task retry TASK_UUID --dry-run", "tasker task retry TASK_UUID"))
def retry(
    task: TaskArgument,
    reason: OptionalReasonOption = None,
    actor: ActorOption = "",
    dry_run: DryRunOption = False,
    database_url: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let all failed steps of a task run again, with all their attempts.

    Steps that are done stay done, with their results.
    """
    perform(lambda opened: opened.retry_task(task, actor=actor, reason=reason, dry_run=dry_run), database_url, as_json)


@app.command(
    epilog=examples(
        "tasker task rerun TASK_UUID --from charge_card --reason 'charged in the wrong currency' --dry-run",
        "tasker task rerun TASK_UUID --from charge_card --reason 'charged in the wrong currency'",
    )
)
def rerun(
    task: TaskArgument,
    step: Annotated[str, typer.Option("--from", metavar="STEP", help="Name or UUID of the step to begin with.")],
    reason: ReasonOption,
    actor: ActorOption = "",
    dry_run: DryRunOption = False,
    database_url: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run a step and everything behind it again, even if they are done.

    Their results are forgotten; their history stays. Steps that were created while the task ran cease to exist.
    """

    async def work(opened: Operator) -> dict[str, Any]:
        name = await step_name(opened, task, step)
        return await opened.rerun_task(task, name, actor=actor, reason=reason, dry_run=dry_run)

    perform(work, database_url, as_json)


def _pause(task: dict[str, Any]) -> str:
    reason = f": {task['pause_reason']}" if task["pause_reason"] else ""
    return f"since {task['paused_at']} by {task['paused_by']}{reason}"


def _detail(change: dict[str, Any]) -> str:
    """Return what somebody did and why, or else the error that the change was made for."""
    told = change["reason"] or (change["error"] or {}).get("message") or ""
    return ": ".join(filter(None, (change["verb"], told)))


def _waits_for(step: dict[str, Any]) -> str:
    match step["current_state"]:
        case "pending":
            count = step["unmet_dependencies"]
            return f"{count} dependenc{'y' if count == 1 else 'ies'}"
        case "waiting_for_retry":
            return f"next attempt at {step['next_retry_at'][11:19]}"
        case "in_progress":
            return f"worker {step['worker']}"
        case "enqueued":
            return "a worker"
        case _:
            return ""
