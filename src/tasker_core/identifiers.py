"""Task and step identifiers.

A task's UUID is a version 7 UUID (RFC 9562: milliseconds first, so keys arrive in order) whose last 24 bits are
zero. A step's UUID is its task's with ``ordinal + 1`` in those bits. A step is thus addressed by one UUID, without
a column or an index for it, and a task may have up to 16,777,214 steps.
"""

import os
import time
from datetime import UTC, datetime
from uuid import UUID

MAX_STEPS_PER_TASK = (1 << 24) - 2

_STEP_MASK = (1 << 24) - 1
_RANDOM_MASK = ((1 << 62) - 1) & ~_STEP_MASK


def new_task_uuid() -> UUID:
    """Return a fresh task UUID: 48 bits of milliseconds, 50 random bits, 24 zero bits."""
    random = int.from_bytes(os.urandom(10), "big")
    milliseconds = time.time_ns() // 1_000_000
    return UUID(
        int=(milliseconds << 80) | (0x7 << 76) | ((random & 0xFFF) << 64) | (0b10 << 62) | (random >> 12 & _RANDOM_MASK)
    )


def created_at(task_uuid: UUID) -> datetime:
    """Return when a task's UUID was made, to the millisecond."""
    return datetime.fromtimestamp((task_uuid.int >> 80) / 1000, UTC)


def step_uuid(task_uuid: UUID, ordinal: int) -> UUID:
    """Return the UUID of the step at position ``ordinal`` (from 0) of a task."""
    return UUID(int=task_uuid.int | (ordinal + 1))


def task_uuid_of(step: UUID) -> UUID:
    """Return the UUID of the task that a step belongs to."""
    return UUID(int=step.int & ~_STEP_MASK)


def ordinal_of(step: UUID) -> int:
    """Return a step's position in its task; -1 for a task's own UUID."""
    return (step.int & _STEP_MASK) - 1
