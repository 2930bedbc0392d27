"""The ``tasker`` command."""

from tasker_core.cli.app import main

__all__ = ["main"]
