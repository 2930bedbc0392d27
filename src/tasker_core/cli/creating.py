"""Creating a task for workers elsewhere, and waiting for it."""

import contextlib
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import typer
from rich.markup import escape

from tasker_core.cli import progress
from tasker_core.cli.common import operator
from tasker_core.cli.outcome import outcome_of
from tasker_core.cli.output import err, warn
from tasker_core.cli.remote_operator import Operator
from tasker_core.orchestration import DuplicateTaskError, TaskRequest
from tasker_core.template import TaskTemplate


@dataclass(frozen=True, slots=True)
class Job:
    """What to create, and whether to wait for it.

    Attributes:
        template: the template.
        request: the task to create.
        return_existing: whether a task of the same identity will do.
        wait: wait until the task is over.
        timeout: seconds to wait at most.
        database_url: where to connect, if not to the configured database.
        quiet: show no progress.
    """

    template: TaskTemplate
    request: TaskRequest
    return_existing: bool
    wait: bool
    timeout: float | None
    database_url: str | None
    quiet: bool


async def create(job: Job) -> dict[str, Any]:
    """Create a task; return ``task_uuid`` and ``created``, or with ``wait`` its outcome and ``created``."""
    async with operator(job.database_url) as opened:
        started = time.monotonic()
        task_uuid, created = await _create(opened, job)
        if not job.wait:
            return {"task_uuid": str(task_uuid), "created": created}
        if not job.quiet:
            err.print(f"[dim]Task {task_uuid} ({escape(job.template.identity)})[/]", soft_wrap=True)
        # Steps of an older task may be those of another text of the template, which its picture would not fit.
        showing = created and not job.quiet
        async with progress.shown(opened, task_uuid, job.template, err) if showing else contextlib.nullcontext():
            await _wait(opened, task_uuid, job.timeout)
        return {**await outcome_of(opened, task_uuid, time.monotonic() - started), "created": created}


async def _create(opened: Operator, job: Job) -> tuple[UUID, bool]:
    try:
        return await opened.create_task(job.template, job.request), True
    except DuplicateTaskError as error:
        if not job.return_existing or error.existing is None:
            raise
        return error.existing, False


async def _wait(opened: Operator, task_uuid: UUID, timeout: float | None) -> None:
    try:
        await opened.wait(task_uuid, timeout)
    except TimeoutError:
        warn(f"the task is not over after {timeout:g} s; it stays: tasker task get {task_uuid}")


def moment(text: str) -> datetime:
    """Return the time that an option gives as RFC 3339."""
    with contextlib.suppress(ValueError, OverflowError):  # of a day that does not exist, or none that UTC can express
        read = datetime.fromisoformat(text)
        if read.tzinfo is not None and text[10] in "Tt ":
            return read.astimezone(UTC)
    raise typer.BadParameter(
        f"{text!r} is no time with a zone, as in 2030-01-31T08:00:00Z or 2030-01-31T08:00:00+01:00"
    )
