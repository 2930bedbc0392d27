"""The command tree."""

import platform
import sys
from typing import Annotated

import typer

import tasker_core
from tasker_core.cli import db, run, task, template
from tasker_core.cli.common import JsonOption
from tasker_core.cli.output import configure_logging, out, print_json

app = typer.Typer(
    name="tasker",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Durable workflows on PostgreSQL: a YAML template names the steps, plain Python runs them, nothing is lost.",
    epilog='Start here:  tasker run TEMPLATE.yaml --context \'{"key": "value"}\'',
)
app.command("run")(run.run)
app.add_typer(template.app, name="template")
app.add_typer(task.app, name="task")
app.add_typer(db.app, name="db")


@app.callback()
def root(
    verbose: Annotated[
        int, typer.Option("-v", "--verbose", count=True, help="Log more: -v information, -vv all, with tracebacks.")
    ] = 0,
) -> None:
    """Set up logging for all commands."""
    configure_logging(verbose)


@app.command()
def version(as_json: JsonOption = False) -> None:
    """Print the version of Tasker and of Python."""
    if as_json:
        print_json({"version": tasker_core.__version__, "python": platform.python_version()})
    else:
        out.print(f"tasker {tasker_core.__version__} (Python {platform.python_version()})")


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    app()
