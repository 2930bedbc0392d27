"""Logs of processes that run on and on: levels and formats for machines and for people."""

import logging
import sys

import structlog

from tasker_core.cli.output import Options, err
from tasker_core.configuration import LogSettings


def configure_service_logs(settings: LogSettings) -> None:
    """Send logs to stderr as the settings say; ``-v`` and ``-vv`` show more."""
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    if Options.verbosity:
        level = min(level, logging.INFO if Options.verbosity == 1 else logging.DEBUG)
    people = settings.format == "console" or (settings.format == "auto" and sys.stderr.isatty())
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S" if people else "iso", utc=not people),
            *([] if people else [structlog.processors.format_exc_info]),
            structlog.dev.ConsoleRenderer(colors=err.is_terminal and not err.no_color)
            if people
            else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
        cache_logger_on_first_use=False,
    )
