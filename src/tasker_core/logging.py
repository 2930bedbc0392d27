"""Structured log lines for handlers.

The functions work with or without a running worker and never raise: a handler must not fail
because its log line could not be written. All field values become strings.
"""

from collections.abc import Mapping
from typing import Any

import structlog

from tasker_core.types import LogContext

Fields = Mapping[str, Any] | LogContext | None

_DEFAULT_OPERATION = "python_handler"


def log_error(message: str, fields: Fields = None) -> None:
    """Log at level error."""
    _write("error", message, fields)


def log_warn(message: str, fields: Fields = None) -> None:
    """Log at level warning."""
    _write("warning", message, fields)


def log_info(message: str, fields: Fields = None) -> None:
    """Log at level info."""
    _write("info", message, fields)


def log_debug(message: str, fields: Fields = None) -> None:
    """Log at level debug."""
    _write("debug", message, fields)


def log_trace(message: str, fields: Fields = None) -> None:
    """Log at level debug, marked ``verbosity=trace``: Python's levels end at debug."""
    _write("debug", message, fields, verbosity="trace")


def _write(level: str, message: str, fields: Fields, **marks: str) -> None:
    try:
        given = fields.model_dump(exclude_none=True) if isinstance(fields, LogContext) else fields or {}
        values = {"operation": _DEFAULT_OPERATION, **{str(key): str(value) for key, value in given.items()}}
        # Bound rather than passed on, so that a field named like the message cannot clash with it.
        getattr(structlog.get_logger().bind(**values, **marks), level)(message)
    except Exception:  # noqa: BLE001 - see the module docstring
        return
