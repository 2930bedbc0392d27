"""``tasker init``: the files that a project starts with."""

from pathlib import Path

import typer

from tasker_core.cli.config import write_new
from tasker_core.cli.errors import errors_explained
from tasker_core.cli.output import examples
from tasker_core.configuration.profiles import PROFILE_FILE, STARTER
from tasker_core.configuration.rendering import starter_file

app = typer.Typer(add_completion=False)


@app.command(epilog=examples("tasker init"))
def init() -> None:
    """Write a configuration file and a file of connection profiles to start from.

    They are tasker.toml and .config/tasker.toml; nothing is written if one of them exists. All that they say
    is commented out, so nothing changes until you edit them.
    """
    with errors_explained():
        write_new({Path("tasker.toml"): starter_file(), PROFILE_FILE: STARTER})
