"""``tasker analytics``: how things went, and what took longest."""

from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from tasker_core.cli.common import DatabaseOption, operator, run_async
from tasker_core.cli.errors import errors_explained
from tasker_core.cli.output import JsonOption, err, examples, out, print_json, warn

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="See how things went, and what took longest.",
    epilog=examples("tasker analytics performance --hours 1", "tasker analytics bottlenecks --limit 5"),
)


@app.command(epilog=examples("tasker analytics performance", "tasker analytics performance --hours 168 --json"))
def performance(
    hours: Annotated[int, typer.Option("--hours", min=1, max=8_760, help="How far to look back.")] = 24,
    database_url: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show how many tasks and steps were done in the last hours, how many failed, and how long they took."""

    async def work() -> dict[str, Any]:
        async with operator(database_url) as opened:
            return await opened.analytics.performance(hours=hours)

    with errors_explained():
        found = run_async(work)
        if as_json:
            print_json(found)
            return
        rows = {
            "Since": found["analysis_period_start"],
            "Tasks completed": f"{found['completed_tasks']} ({found['completion_rate']:.1f} %)",
            "Tasks failed": f"{found['failed_tasks']} ({found['error_rate']:.1f} %)",
            "Tasks under way": found["active_tasks"],
            "Tasks at all": found["total_tasks"],
            "Tasks an hour": found["tasks_per_hour"],
            "Steps an hour": found["steps_per_hour"],
            "A task takes": _seconds(found["average_task_duration_seconds"]),
            "A step takes": _seconds(found["average_step_duration_seconds"]),
        }
        for label, value in rows.items():
            out.print(f"  [bold]{label}:[/] {value}")


@app.command(epilog=examples("tasker analytics bottlenecks", "tasker analytics bottlenecks --min-executions 1 --json"))
def bottlenecks(
    limit: Annotated[int, typer.Option("-l", "--limit", min=1, max=1_000, help="Steps, and templates, at most.")] = 10,
    min_executions: Annotated[
        int, typer.Option("--min-executions", min=1, max=2**31 - 1, help="How often one must have run to count.")
    ] = 5,
    database_url: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the steps and templates that took longest in the last 24 hours."""

    async def work() -> dict[str, Any]:
        async with operator(database_url) as opened:
            return await opened.analytics.bottlenecks(limit=limit, min_executions=min_executions)

    with errors_explained():
        found = run_async(work)
        if as_json:
            print_json(found)
            return
        if not found["slow_steps"] and not found["slow_tasks"]:
            err.print("nothing ran often enough in the last 24 hours")
        columns = ("Template", "Step", "Takes", "Longest", "Runs", "Failed")
        table = Table(*columns, box=None, header_style="bold")
        for row in [*found["slow_tasks"], *found["slow_steps"]]:
            table.add_row(
                escape(f"{row['namespace_name']}/{row['task_name']} {row['version']}"),
                escape(row.get("step_name", "(task)")),
                _seconds(row["average_duration_seconds"]),
                _seconds(row["max_duration_seconds"]),
                str(row["execution_count"]),
                f"{100 * row['error_rate']:.0f} %",
            )
        if table.row_count:
            out.print(table)
        for recommendation in found["recommendations"]:
            warn(recommendation)


def _seconds(value: float) -> str:
    return f"{value:.3f} s"
