"""``tasker dlq``: what Tasker gave up on, until somebody has dealt with it."""

from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.markup import escape
from rich.table import Table

from tasker_core.cli.common import DatabaseOption, operator, run_async
from tasker_core.cli.errors import errors_explained
from tasker_core.cli.operations import ActorOption, DryRunOption, meaningful, print_change
from tasker_core.cli.output import JsonOption, err, examples, out, print_json, success, warn

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Look at dead letters and resolve them.",
    epilog=examples(
        "tasker dlq stats",
        "tasker dlq list --status pending --reason max_retries_exceeded",
        "tasker dlq resolve ENTRY_UUID --action retry --notes 'the bank is back'",
    ),
)


class Status(StrEnum):
    """How far a dead letter has been dealt with."""

    PENDING = "pending"
    MANUALLY_RESOLVED = "manually_resolved"
    PERMANENTLY_FAILED = "permanently_failed"
    CANCELLED = "cancelled"


class Reason(StrEnum):
    """Why there is a dead letter."""

    STALENESS_TIMEOUT = "staleness_timeout"
    MAX_RETRIES_EXCEEDED = "max_retries_exceeded"
    DEPENDENCY_CYCLE_DETECTED = "dependency_cycle_detected"
    WORKER_UNAVAILABLE = "worker_unavailable"
    MANUAL_DLQ = "manual_dlq"


class Action(StrEnum):
    """What to do about a dead letter."""

    RETRY = "retry"
    RESOLVE = "resolve"
    DISCARD = "discard"
    CANCEL = "cancel"
    NONE = "none"


EntryArgument = Annotated[UUID, typer.Argument(metavar="ENTRY", help="UUID of the dead letter.")]

_STATUS_STYLES = {
    Status.PENDING: "yellow",
    Status.MANUALLY_RESOLVED: "green",
    Status.PERMANENTLY_FAILED: "bold red",
    Status.CANCELLED: "magenta",
}


@app.command(
    "list",
    epilog=examples("tasker dlq list --status pending", "tasker dlq list --reason staleness_timeout --limit 5 --json"),
)
def list_entries(
    status: Annotated[Status | None, typer.Option("-s", "--status", help="Only those with this status.")] = None,
    reason: Annotated[Reason | None, typer.Option("--reason", help="Only those with this reason.")] = None,
    limit: Annotated[int, typer.Option("-l", "--limit", min=1, max=1000, help="How many at most.")] = 20,
    before: Annotated[
        UUID | None, typer.Option("--before", metavar="ENTRY", help="Go on after this entry, the last of a page.")
    ] = None,
    database_url: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """List dead letters, newest first."""

    async def work() -> list[dict[str, Any]]:
        async with operator(database_url) as opened:
            return await opened.dlq_entries(status=status, reason=reason, limit=limit, before=before)

    with errors_explained():
        entries = run_async(work)
        if as_json:
            print_json({"entries": entries})
        elif not entries:
            err.print("no dead letters")
        else:
            table = Table(
                "Entry", "Status", "Reason", "Task", "Step", "Template", "Since", box=None, header_style="bold"
            )
            for entry in entries:
                table.add_row(
                    entry["dlq_entry_uuid"],
                    _styled_status(entry["resolution_status"]),
                    entry["dlq_reason"],
                    entry["task_uuid"],
                    escape(entry["step"] or "(task)"),
                    escape(_template_of(entry)),
                    entry["dlq_timestamp"][:19],
                )
            out.print(table)


@app.command(epilog=examples("tasker dlq get 01a20bd2-12f6-7c21-8159-f3ff32000000"))
def get(entry: EntryArgument, database_url: DatabaseOption = None, as_json: JsonOption = False) -> None:
    """Show one dead letter, with what its task looked like."""

    async def work() -> dict[str, Any]:
        async with operator(database_url) as opened:
            return await opened.dlq_entry(entry)

    with errors_explained():
        found = run_async(work)
        if as_json:
            print_json(found)
        else:
            _print_entry(found)


@app.command(
    epilog=examples(
        "tasker dlq resolve ENTRY_UUID --action retry --dry-run",
        "tasker dlq resolve ENTRY_UUID --action resolve --notes 'sent by hand'",
        "tasker dlq resolve ENTRY_UUID --action none --notes 'nobody needs it any more'",
    )
)
def resolve(
    entry: EntryArgument,
    action: Annotated[
        Action,
        typer.Option(
            "--action",
            help="retry: what failed runs again, with all its attempts; resolve: it counts as dealt with, without a "
            "result; discard: it has failed for good; cancel: the task is cancelled; none: the entry alone is closed.",
        ),
    ],
    notes: Annotated[
        str | None,
        typer.Option("--notes", metavar="TEXT", help="What was found and done; recorded.", callback=meaningful),
    ] = None,
    actor: ActorOption = "",
    dry_run: DryRunOption = False,
    database_url: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Deal with a dead letter, and with the step and the task behind it."""

    async def work() -> dict[str, Any]:
        async with operator(database_url) as opened:
            return await opened.resolve_dlq_entry(entry, action=action, actor=actor, notes=notes, dry_run=dry_run)

    with errors_explained():
        resolved = run_async(work)
        if as_json:
            print_json(resolved)
            return
        if resolved["change"] is not None:
            print_change(resolved["change"])
        if not dry_run:
            success(f"dead letter {entry}: {resolved['resolution_status']}")
        elif resolved["change"] is None:
            warn("dry run, nothing is changed")
            out.print(f"dead letter {entry} would be closed", soft_wrap=True)


@app.command(epilog=examples("tasker dlq stats --json"))
def stats(database_url: DatabaseOption = None, as_json: JsonOption = False) -> None:
    """Count dead letters by reason and status."""

    async def work() -> list[dict[str, Any]]:
        async with operator(database_url) as opened:
            return await opened.dlq_stats()

    with errors_explained():
        counts = run_async(work)
        if as_json:
            print_json({"stats": counts})
        elif not counts:
            err.print("no dead letters")
        else:
            columns = ("Reason", "Total", "Pending", "Resolved", "Failed", "Cancelled", "Oldest", "Newest")
            table = Table(*columns, box=None, header_style="bold")
            for row in counts:
                numbers = ("total_entries", "pending", "manually_resolved", "permanent_failures", "cancelled")
                times = ("oldest_entry", "newest_entry")
                table.add_row(
                    row["dlq_reason"], *(str(row[key]) for key in numbers), *((row[key] or "")[:19] for key in times)
                )
            out.print(table)


def _print_entry(entry: dict[str, Any]) -> None:
    rows = {
        "Entry": entry["dlq_entry_uuid"],
        "Task": entry["task_uuid"],
        "Step": entry["step"] or "(task)",
        "Template": _template_of(entry),
        "Reason": entry["dlq_reason"],
        "State then": entry["original_state"],
        "Since": entry["dlq_timestamp"],
    }
    if entry["resolution_timestamp"]:
        rows["Resolved"] = f"{entry['resolution_timestamp']} by {entry['resolved_by'] or 'nobody known'}"
    if entry["resolution_notes"]:
        rows["Notes"] = entry["resolution_notes"]
    out.print(f"  [bold]Status:[/] {_styled_status(entry['resolution_status'])}")
    for label, value in rows.items():
        out.print(f"  [bold]{label}:[/] {escape(str(value))}", soft_wrap=True)
    for label, key in (("Metadata", "metadata"), ("Task then", "task_snapshot")):
        if entry[key]:
            out.print(f"  [bold]{label}:[/]", end=" ")
            print_json(entry[key])


def _template_of(entry: dict[str, Any]) -> str:
    return f"{entry['namespace']}/{entry['name']} {entry['version']}"


def _styled_status(status: str) -> str:
    return f"[{_STATUS_STYLES[Status(status)]}]{status}[/]"
