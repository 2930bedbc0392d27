"""The engine and a worker in one process, for one task."""

import asyncio
import contextlib
import time
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from rich.markup import escape

from tasker_core.cli import progress
from tasker_core.cli.common import engine
from tasker_core.cli.outcome import outcome_of
from tasker_core.cli.output import ExitCode, err, fail, warn
from tasker_core.cli.working import first_of, stops_requested, working
from tasker_core.handler import HandlerRegistry
from tasker_core.orchestration import Engine, TaskRequest
from tasker_core.step_worker.collector import calm_collector
from tasker_core.template import TaskTemplate

#: Seconds that running handlers have to finish once the process is told to stop.
_SHUTDOWN_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Job:
    """What to run, and how.

    Attributes:
        template: the template.
        registry: has a handler for each of its steps.
        request: the task to create, unless one is resumed.
        resumed: the task to go on with.
        timeout: seconds to wait for the end.
        concurrency: handlers that run at once.
        database_url: where to connect, if not to the configured database.
        quiet: show no progress.
    """

    template: TaskTemplate
    registry: HandlerRegistry
    request: TaskRequest
    resumed: UUID | None
    timeout: float | None
    concurrency: int
    database_url: str | None
    quiet: bool


async def run(job: Job) -> dict[str, Any]:
    """Run a job and return its outcome, whether the task is over or not."""
    calm_collector()
    async with engine(job.database_url, may_migrate=True, announce=not job.quiet) as opened:
        started = time.monotonic()
        if job.resumed is None:
            task_uuid = await opened.create_task(job.template, job.request, return_existing=True)
        else:
            task_uuid = await _require_same_template(opened, job.resumed, job.template)
        if not job.quiet:
            err.print(f"[dim]Task {task_uuid} ({escape(job.template.identity)})[/]", soft_wrap=True)
        callables = sorted({step.handler.callable for step in job.template.steps})
        options: dict[str, Any] = {"concurrency": job.concurrency, "shutdown_timeout": _SHUTDOWN_SECONDS}
        async with working(opened, job.registry, callables, **options) as (worker, running):
            with stops_requested() as requests:
                reason = await _until_over(opened, job, task_uuid, requests.stop, running)
                if reason and worker.running:
                    warn(
                        f"{reason}; {worker.running} running handler(s) may finish within {_SHUTDOWN_SECONDS:g} s "
                        "(Ctrl-C again leaves at once)"
                    )
                elif reason:
                    warn(reason)
                worker.stop()
                await first_of(running, requests.leave)
        return await outcome_of(opened, task_uuid, time.monotonic() - started)


async def _require_same_template(opened: Engine, task_uuid: UUID, template: TaskTemplate) -> UUID:
    task = await opened.task(task_uuid)
    stored, wanted = (task["namespace"], task["name"]), (template.namespace_name, template.name)
    if stored != wanted:
        fail(f"task {task_uuid} is of the template {'/'.join(stored)}, not {'/'.join(wanted)}", ExitCode.USAGE)
    if task["paused_at"] is not None:
        warn(f"the task is paused by {task['paused_by']}; it goes on after: tasker task resume {task_uuid}")
    return task_uuid


async def _until_over(
    opened: Engine, job: Job, task_uuid: UUID, stop: asyncio.Event, running: "asyncio.Task[None]"
) -> str:
    """Wait for the task, a signal, the time limit or a failure of the worker; return why the task is not over."""
    showing = contextlib.nullcontext() if job.quiet else progress.shown(opened, task_uuid, job.template, err)
    async with showing:
        waiting = asyncio.create_task(opened.wait(task_uuid))
        try:
            await asyncio.wait_for(first_of(waiting, stop, running), job.timeout)
        except TimeoutError:
            return f"the task is not over after {job.timeout:g} s"
        finally:
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
    return "interrupted" if stop.is_set() else ""
