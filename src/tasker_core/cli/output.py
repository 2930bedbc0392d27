"""What commands print, and what they exit with. Light: every start of the command line imports it."""

import os
import sys
from enum import IntEnum
from typing import IO, Annotated, Any, NoReturn

import msgspec
import structlog
import typer
from rich.console import Console
from rich.markup import escape

#: Results for people and ``--json`` go to stdout, everything else to stderr.
#: Where output does not go to a terminal, nothing is cut to its width.
_PIPE_WIDTH = 300

out = Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH)
err = Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else _PIPE_WIDTH)

JsonOption = Annotated[
    bool, typer.Option("--json", metavar="", help="Print one JSON document and nothing else to stdout.")
]

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
    "blocked_by_failures": "✗",
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
    quiet = False
    #: URL of the server to talk to, if one was named.
    server: str | None = None
    #: Name of the profile that was named on the command line.
    profile: str | None = None
    #: Where `print_json` writes, if not to standard output.
    document: IO[str] | None = None


def configure_output(verbosity: int, *, color: bool) -> None:
    """Send logs to stderr: warnings, with ``-v`` information, with ``-vv`` everything."""
    Options.verbosity = verbosity
    if not color:
        out.no_color = err.no_color = True
    level = {0: 30, 1: 20}.get(verbosity, 10)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
            structlog.dev.ConsoleRenderer(colors=err.is_terminal and not err.no_color),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        # Looked up for each line: while a live picture is shown, sys.stderr writes above it.
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
        cache_logger_on_first_use=False,
    )


def reserve_stdout() -> None:
    """Keep stdout for `print_json`, for the rest of the process; what handlers and their programs print goes to stderr.

    By file descriptor, so that programs which handlers start are included.
    """
    sys.stdout.flush()
    Options.document = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)


def print_json(value: Any) -> None:
    """Print a value as one JSON document."""
    document = Options.document or sys.stdout
    document.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")
    document.flush()


def examples(*lines: str) -> str:
    """Return example command lines as the end of a command's help."""
    # The backspace keeps Typer from joining the lines.
    return "\n".join(["\b", "[dim]Examples:[/]", *(f"  [cyan]{escape(line)}[/]" for line in lines)])


def styled_state(state: str) -> str:
    """Return a state with its icon and colour."""
    style = STATE_STYLES.get(state, "default")
    icon = STATE_ICONS.get(state)
    return f"[{style}]{icon + ' ' if icon else ''}{state}[/]"


def first_line(text: str) -> str:
    """Return the first line of a text; nothing of nothing."""
    return next(iter(text.splitlines()), "")


def success(text: str) -> None:
    """Print that something worked."""
    out.print(f"[green]✓[/] {escape(text)}", soft_wrap=True)


def warn(text: str) -> None:
    """Print a warning to stderr."""
    err.print(f"[yellow]![/] {escape(text)}", soft_wrap=True)


def complain(text: str) -> None:
    """Print an error to stderr."""
    err.print(f"[bold red]✗[/] {escape(text)}", soft_wrap=True)


def fail(message: str, code: ExitCode = ExitCode.FAILED) -> NoReturn:
    """Print an error and exit."""
    complain(message)
    raise typer.Exit(code)
