"""``tasker workers``: the worker processes that there are."""

from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from tasker_core.cli.common import DatabaseOption, operator, run_async
from tasker_core.cli.errors import errors_explained
from tasker_core.cli.output import JsonOption, err, examples, out, print_json

app = typer.Typer(add_completion=False)


@app.command(
    epilog=examples("tasker workers", "tasker workers --server https://tasker.example --all", "tasker workers --json")
)
def workers(
    include_gone: Annotated[
        bool, typer.Option("--all", metavar="", help="Those, too, that stopped or are not heard of any more.")
    ] = False,
    limit: Annotated[int, typer.Option("-l", "--limit", min=1, max=10_000, help="How many at most.")] = 100,
    database_url: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the worker processes that there are.

    Those that work for a server and those that work on the database itself, the ones seen last first. Workers tell
    about themselves at least once in a lease.
    """

    async def work() -> list[dict[str, Any]]:
        async with operator(database_url) as opened:
            return await opened.workers.list(include_gone=include_gone, limit=limit)

    with errors_explained():
        found = run_async(work)
        if as_json:
            print_json({"workers": found})
        elif not found:
            err.print("no workers")
        else:
            columns = ("Worker", "Name", "State", "Namespaces", "Handlers", "Running", "SDK", "Seen")
            table = Table(*columns, box=None, header_style="bold")
            for worker in found:
                table.add_row(
                    worker["worker_id"],
                    escape(worker["name"]),
                    _state(worker),
                    escape("all" if worker["namespaces"] is None else ", ".join(worker["namespaces"])),
                    str(len(worker["callables"])),
                    "/".join(str(part) for part in (worker["in_flight"], worker["concurrency"]) if part is not None),
                    escape(worker["sdk"] or ""),
                    worker["last_seen_at"][:19],
                )
            out.print(table)


def _state(worker: dict[str, Any]) -> str:
    if worker["live"]:
        return "[green]live[/]"
    return "[dim]stopped[/]" if worker["stopped_at"] else "[yellow]silent[/]"
