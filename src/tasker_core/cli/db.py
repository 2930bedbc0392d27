"""``tasker db``: the schema."""

from dataclasses import asdict

import typer
from rich.markup import escape

from tasker_core.cli.common import DatabaseOption, require_no_server, run_async
from tasker_core.cli.errors import errors_explained
from tasker_core.cli.output import ExitCode, JsonOption, examples, out, print_json, success, warn
from tasker_core.runtime import Settings, open_database
from tasker_core.store import migrate as run_migrations
from tasker_core.store import migration_status

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Look after the database schema.",
    epilog=examples("tasker db status", "tasker db migrate --database-url postgresql://user@host/name"),
)


@app.callback()
def db() -> None:
    """Look after the database schema."""
    require_no_server("tasker db")


@app.command(epilog=examples("tasker db migrate --database-url postgresql://user@host/name"))
def migrate(database_url: DatabaseOption = None, as_json: JsonOption = False) -> None:
    """Bring the schema up to date. Safe to run from several processes at once."""
    with errors_explained(), open_database(Settings.read(database_url=database_url)) as database:
        applied = run_async(lambda: run_migrations(database.url))
        if as_json:
            print_json({"database": database.description, "applied": list(applied)})
        elif applied:
            success(f"applied {', '.join(applied)} to {database.description}")
        else:
            success(f"nothing to do: {database.description} is up to date")


@app.command(epilog=examples("tasker db status || tasker db migrate"))
def status(database_url: DatabaseOption = None, as_json: JsonOption = False) -> None:
    """Say where the schema stands; exits with 1 if migrations are pending."""
    with errors_explained(), open_database(Settings.read(database_url=database_url)) as database:
        found = run_async(lambda: migration_status(database.url))
        if as_json:
            print_json({"database": database.description, "up_to_date": found.up_to_date, **asdict(found)})
        else:
            out.print(f"  [bold]Database:[/] {escape(database.description)}", soft_wrap=True)
            out.print(f"  [bold]Schema:[/]   {found.current or 'none'} (latest {found.latest})")
            if found.pending:
                warn(f"pending: {', '.join(found.pending)}; run: tasker db migrate")
        if not found.up_to_date:
            raise typer.Exit(ExitCode.FAILED)
