"""The command tree."""

import importlib
import os
import platform
import sys
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperGroup

import tasker_core
from tasker_core.cli.output import JsonOption, Options, configure_output, examples, out, print_json


class _Elsewhere(NamedTuple):
    """A command whose module is imported when it is used; ``tasker version`` need not load a database driver."""

    module: str
    summary: str


COMMANDS = {
    "run": _Elsewhere("tasker_core.cli.run", "Run a task to its end and print its results."),
    "dev": _Elsewhere("tasker_core.cli.dev", "Run database, server and worker, and renew them when a file changes."),
    "server": _Elsewhere("tasker_core.cli.server", "Serve the HTTP API until told to stop."),
    "worker": _Elsewhere("tasker_core.cli.worker", "Run steps of the templates' tasks until told to stop."),
    "workers": _Elsewhere("tasker_core.cli.workers", "List the worker processes that there are."),
    "template": _Elsewhere("tasker_core.cli.template", "Check, draw and register task templates."),
    "task": _Elsewhere("tasker_core.cli.task", "Create tasks, look at them and act on them."),
    "step": _Elsewhere("tasker_core.cli.step", "Put a single step right by hand."),
    "dlq": _Elsewhere("tasker_core.cli.dlq", "Look at dead letters and resolve them."),
    "analytics": _Elsewhere("tasker_core.cli.analytics", "See how things went, and what took longest."),
    "system": _Elsewhere("tasker_core.cli.system", "See how a server is."),
    "auth": _Elsewhere("tasker_core.cli.auth", "Make and check credentials for the HTTP API."),
    "db": _Elsewhere("tasker_core.cli.db", "Look after the database schema."),
    "config": _Elsewhere("tasker_core.cli.config", "Show, check, explain and write the configuration."),
    "profile": _Elsewhere(
        "tasker_core.cli.profile", "Look after connection profiles: the servers that commands can talk to."
    ),
    "init": _Elsewhere(
        "tasker_core.cli.init", "Write a configuration file and a file of connection profiles to start from."
    ),
}

#: Options of the root that may also stand behind a command. Short forms stay before it, where they mean one thing.
_ANYWHERE = ("--verbose", "--quiet", "--no-color")
_ANYWHERE_WITH_VALUE = ("--config", "--profile", "--server")


class _Root(TyperGroup):
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        moved, rest = list[str](), list[str]()
        for position, argument in enumerate(args[:end]):
            value_of_one = position > 0 and args[position - 1] in _ANYWHERE_WITH_VALUE
            is_one = argument.partition("=")[0] in _ANYWHERE_WITH_VALUE
            (moved if value_of_one or is_one or argument in _ANYWHERE else rest).append(argument)
        return super().parse_args(ctx, [*moved, *rest, *args[end:]])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] in COMMANDS:
            module = importlib.import_module(COMMANDS[args[0]].module)
            self.commands[args[0]] = typer.main.get_command(module.app)
        return super().resolve_command(ctx, args)


app = typer.Typer(
    name="tasker",
    cls=_Root,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Durable workflows on PostgreSQL: a YAML template names the steps, plain Python runs them, nothing is lost.",
    epilog=examples(
        "tasker template validate order.yaml",
        "tasker run order.yaml --context '{\"order_id\": 7}'",
        "tasker worker workflows/ --processes 4",
        "tasker task list --status error",
        "tasker task why TASK_UUID",
    ),
)


@app.callback()
def root(
    verbose: Annotated[
        int,
        typer.Option(
            "-v",
            "--verbose",
            count=True,
            metavar="",
            show_default=False,
            help="Log more: -v information, -vv all, with tracebacks.",
        ),
    ] = 0,
    quiet: Annotated[
        bool, typer.Option("-q", "--quiet", metavar="", help="Show no progress, only results and errors.")
    ] = False,
    no_color: Annotated[
        bool, typer.Option("--no-color", metavar="", help="Print without colours; so does $NO_COLOR.")
    ] = False,
    config: Annotated[
        str | None,
        typer.Option("-c", "--config", metavar="FILE", help="Configuration to use.  Default: $TASKER_CONFIG_PATH."),
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option("-p", "--profile", metavar="NAME", help="Server to use.  Default: $TASKER_CLIENT_PROFILE."),
    ] = None,
    server: Annotated[
        str | None,
        typer.Option(
            "--server",
            metavar="URL",
            help="Talk to this server, not to the database.  Default: the profile's, else $TASKER_ORCHESTRATION_URL.",
        ),
    ] = None,
) -> None:
    """Set up output and the choice of settings for all commands."""
    # As environment variables, since the worker processes that commands start must read the same.
    for name, value in (("TASKER_CONFIG_PATH", config), ("TASKER_CLIENT_PROFILE", profile)):
        if value is not None:
            os.environ[name] = value
    Options.quiet = quiet
    Options.server = server
    Options.profile = profile
    configure_output(verbose, color=not no_color)


def _add_placeholders() -> None:
    """Make the help list the commands that are not loaded."""
    for name, command in COMMANDS.items():
        app.command(name, help=command.summary)(lambda: None)


_add_placeholders()


@app.command(epilog=examples("tasker version --json"))
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
    app(prog_name="tasker")
