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
from tasker_core.cli.output import ExitCode, err, fail, warn
from tasker_core.cli.remote_operator import Operator, RemoteOperator
from tasker_core.cli.templates import TemplateName
from tasker_core.orchestration import DuplicateTaskError, TaskRequest, TemplateNotFoundError
from tasker_core.template import TaskTemplate


@dataclass(frozen=True, slots=True)
class Job:
    """What to create, and whether to wait for it.

    Attributes:
        template: the template, or the name of a registered one.
        request: the task to create.
        return_existing: whether a task of the same identity will do.
        wait: wait until the task is over.
        timeout: seconds to wait at most.
        database_url: where to connect, if not to the configured database.
        quiet: show no progress.
    """

    template: TaskTemplate | TemplateName
    request: TaskRequest
    return_existing: bool
    wait: bool
    timeout: float | None
    database_url: str | None
    quiet: bool


async def create(job: Job) -> tuple[dict[str, Any], TaskTemplate]:
    """Create a task; return ``task_uuid`` and ``created``, or with ``wait`` its outcome and ``created``.

    The other thing that is returned is the template.
    """
    async with operator(job.database_url) as opened:
        started = time.monotonic()
        template = await _template(opened, job.template)
        task_uuid, created = await _create(opened, template, job)
        if not job.wait:
            return {"task_uuid": str(task_uuid), "created": created}, template
        if not job.quiet:
            err.print(f"[dim]Task {task_uuid} ({escape(template.identity)})[/]", soft_wrap=True)
        # Steps of an older task may be those of another text of the template, which its picture would not fit.
        showing = created and not job.quiet
        async with progress.shown(opened, task_uuid, template, err) if showing else contextlib.nullcontext():
            await _wait(opened, task_uuid, job.timeout)
        return {**await outcome_of(opened, task_uuid, time.monotonic() - started), "created": created}, template


async def _template(opened: Operator, wanted: TaskTemplate | TemplateName) -> TaskTemplate:
    if isinstance(wanted, TaskTemplate):
        return wanted
    try:
        return await opened.templates.find(wanted.namespace, wanted.name, wanted.version)
    except TemplateNotFoundError:
        which = f"{wanted.namespace}/{wanted.name}" + (f" of version {wanted.version}" if wanted.version else "")
        fail(
            f"there is no such file or directory, and no registered template {which}; "
            "tasker template registered lists them",
            ExitCode.NOT_FOUND,
        )


async def _create(opened: Operator, template: TaskTemplate, job: Job) -> tuple[UUID, bool]:
    try:
        if isinstance(opened, RemoteOperator) and isinstance(job.template, TaskTemplate):
            return await opened.create_from_file(template, job.request), True
        return await opened.create_task(template, job.request), True
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
