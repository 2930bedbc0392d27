"""``tasker task``: look at tasks."""

from typing import Annotated, Any
from uuid import UUID

import typer
from rich.markup import escape
from rich.table import Table

from tasker_core.cli.common import DatabaseOption, engine, run_async
from tasker_core.cli.errors import errors_explained
from tasker_core.cli.output import JsonOption, err, examples, first_line, out, print_json, styled_state
from tasker_core.states import TaskState

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Look at tasks, their steps and their history.",
    epilog=examples(
        "tasker task list --status error", "tasker task steps TASK_UUID", "tasker task get TASK_UUID --json"
    ),
)

TaskArgument = Annotated[UUID, typer.Argument(metavar="TASK", help="UUID of the task.")]


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
        async with engine(database_url) as opened:
            return await opened.tasks(
                namespace=namespace,
                name=name,
                state=status,
                before=before,
                limit=limit,
            )

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
                    styled_state(task["state"]),
                    f"{task['completed_steps']}/{task['total_steps']}",
                    task["created_at"][:19],
                )
            out.print(table)


@app.command(epilog=examples("tasker task get 01a20bd2-12f6-7c21-8159-f3ff32000000"))
def get(task: TaskArgument, database_url: DatabaseOption = None, as_json: JsonOption = False) -> None:
    """Show one task."""

    async def work() -> dict[str, Any]:
        async with engine(database_url) as opened:
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
        out.print(f"  [bold]State:[/] {styled_state(found['state'])}")
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
        async with engine(database_url) as opened:
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
                styled_state(step["state"]),
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
        async with engine(database_url) as opened:
            return await opened.history(task)

    with errors_explained():
        changes = run_async(work)
        if as_json:
            print_json({"task_uuid": str(task), "history": changes})
            return
        table = Table("Time", "Step", "Attempt", "From", "To", "Worker", "Detail", box=None, header_style="bold")
        for change in changes:
            detail = change["reason"] or (change["error"] or {}).get("message") or ""
            table.add_row(
                change["occurred_at"][:23].replace("T", " "),
                escape(change["step"] or "(task)"),
                "" if change["attempt"] is None else str(change["attempt"]),
                change["from_state"],
                styled_state(change["to_state"]),
                escape(change["worker"] or change["actor"] or ""),
                escape(first_line(detail)),
            )
        out.print(table)


def _waits_for(step: dict[str, Any]) -> str:
    match step["state"]:
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
