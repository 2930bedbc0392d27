"""What commands print, and what they exit with."""

import contextlib
import sys
from collections.abc import Iterator
from enum import IntEnum
from typing import Any, NoReturn

import msgspec
import structlog
import typer
from rich.console import Console
from rich.markup import escape

from tasker_core.bootstrap import ConfigurationError
from tasker_core.handler_loading import HandlerLoadError
from tasker_core.orchestration import InvalidTaskError, TaskNotFoundError
from tasker_core.serialization import SerializationError
from tasker_core.store import StoreError, StoreUnavailableError
from tasker_core.template import TemplateError

#: Results for people and ``--json`` go to stdout, everything else to stderr.
#: Where output does not go to a terminal, nothing is cut to its width.
_PIPE_WIDTH = 300

out = Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH)
err = Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else _PIPE_WIDTH)

STATE_STYLES = {
    "complete": "green",
    "resolved_manually": "green",
    "in_progress": "cyan",
    "steps_in_process": "cyan",
    "enqueued": "blue",
    "waiting_for_retry": "yellow",
    "error": "bold red",
    "blocked_by_failures": "bold red",
    "cancelled": "magenta",
    "pending": "dim",
}

STATE_ICONS = {
    "complete": "✓",
    "resolved_manually": "✓",
    "in_progress": "▶",
    "enqueued": "…",
    "waiting_for_retry": "↻",
    "error": "✗",
    "cancelled": "⊘",
    "pending": "·",
}


class ExitCode(IntEnum):
    """Exit codes of all commands."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    DENIED = 4
    UNREACHABLE = 5
    TASK_FAILED = 6


class Options:
    """Options that hold for the whole process."""

    verbosity = 0


def configure_logging(verbosity: int) -> None:
    """Send logs to stderr: warnings, with ``-v`` information, with ``-vv`` everything."""
    Options.verbosity = verbosity
    level = {0: 30, 1: 20}.get(verbosity, 10)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


def print_json(value: Any) -> None:
    """Print a value as one JSON document."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")
    sys.stdout.flush()


def styled_state(state: str) -> str:
    """Return a state with its icon and colour."""
    style = STATE_STYLES.get(state, "default")
    icon = STATE_ICONS.get(state)
    return f"[{style}]{icon + ' ' if icon else ''}{state}[/]"


def success(text: str) -> None:
    """Print that something worked."""
    out.print(f"[green]✓[/] {text}")


def warn(text: str) -> None:
    """Print a warning to stderr."""
    err.print(f"[yellow]![/] {text}")


def fail(message: str, code: ExitCode = ExitCode.FAILED) -> NoReturn:
    """Print one error line (or a short list) and exit."""
    err.print(f"[bold red]✗[/] {escape(message)}")
    raise typer.Exit(code)


@contextlib.contextmanager
def errors_explained() -> Iterator[None]:
    """Turn the errors that people can do something about into a message and an exit code.

    With ``-vv`` they propagate, traceback and all.
    """
    try:
        yield
    except (typer.Exit, typer.Abort):
        raise
    except Exception as error:
        if Options.verbosity >= 2:
            raise
        match error:
            case TaskNotFoundError():
                fail(str(error), ExitCode.NOT_FOUND)
            case StoreUnavailableError():
                fail(str(error), ExitCode.UNREACHABLE)
            case ConfigurationError():
                fail(str(error), ExitCode.USAGE)
            case (
                TemplateError()
                | HandlerLoadError()
                | InvalidTaskError()
                | StoreError()
                | SerializationError()
                | OSError()
            ):
                fail(str(error))
            case _:
                fail(f"unexpected {type(error).__name__}: {error} (run with -vv for the traceback)")
