"""Where a step that yields goes on."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tasker_core.serialization import rfc3339

#: Earlier cursors that a checkpoint remembers.
HISTORY_LIMIT = 50

#: Error type of a step whose checkpoint cannot be kept.
CHECKPOINT_ERROR = "checkpoint_error"


class InvalidCheckpointError(ValueError):
    """A checkpoint that moves back, or is none; the message says what is wrong."""


def is_yield(success: bool, metadata: Mapping[str, Any]) -> bool:
    """Return whether a report is a ``checkpoint_yield`` and not the end of an attempt."""
    return success and metadata.get("checkpoint_yield") is True


def advance(previous: Mapping[str, Any] | None, result: object, *, now: datetime) -> dict[str, Any]:
    """Return the checkpoint to store for what ``checkpoint_yield`` returned.

    It is ``{cursor, items_processed, timestamp, accumulated_results, history}``; history holds the last 50 cursors
    with their times, the newest last.

    Args:
        previous: the step's checkpoint so far.
        result: the handler's result.
        now: the time to note.

    Raises:
        InvalidCheckpointError: the result is no checkpoint, or one before the previous.
    """
    if not isinstance(result, Mapping) or result.get("type") != "checkpoint_yield":
        raise InvalidCheckpointError("a result with metadata checkpoint_yield must come from checkpoint_yield(...)")
    cursor, items = result.get("cursor"), result.get("items_processed")
    if type(items) is not int or items < 0:
        raise InvalidCheckpointError(f"items_processed must be a whole number of 0 or more, not {items!r}")
    previous = previous or {}
    if _is_before(cursor, previous.get("cursor")):
        raise InvalidCheckpointError(f"the cursor moved back from {previous.get('cursor')!r} to {cursor!r}")
    if items < previous.get("items_processed", 0):
        raise InvalidCheckpointError(
            f"items_processed fell from {previous['items_processed']} to {items}; it counts from the step's beginning"
        )
    timestamp = rfc3339(now)
    history = [*previous.get("history", ()), {"cursor": cursor, "timestamp": timestamp}]
    return {
        "cursor": cursor,
        "items_processed": items,
        "timestamp": timestamp,
        # What a later checkpoint does not mention stays.
        "accumulated_results": result.get("accumulated_results", previous.get("accumulated_results")),
        "history": history[-HISTORY_LIMIT:],
    }


def _is_before(cursor: object, previous: object) -> bool:
    """Return whether a cursor lies before another; those of different or structured kinds cannot be compared."""
    if isinstance(cursor, int | float) and isinstance(previous, int | float):
        return cursor < previous
    return False
