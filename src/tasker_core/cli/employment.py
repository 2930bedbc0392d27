"""Whom a worker works for: a server, or the engine on the database itself."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from tasker_core.cli.common import client_of
from tasker_core.cli.handlers import FoundHandlers
from tasker_core.cli.output import warn
from tasker_core.cli.working import working
from tasker_core.client import AsyncTaskerClient, ConflictError, PermissionDeniedError
from tasker_core.configuration.profiles import Connection, target
from tasker_core.orchestration import Engine, TemplateConflictError
from tasker_core.runtime import Settings, open_database, open_engine
from tasker_core.step_worker import StepWorker
from tasker_core.step_worker.http_source import http_source
from tasker_core.template import TaskTemplate

log = structlog.get_logger("tasker.worker")

#: A worker, the task in which it runs, and in words whom it works for.
Employed = tuple[StepWorker, "asyncio.Task[None]", str]


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a worker does.

    Attributes:
        name: its name in the history.
        found: its handlers.
        templates: what they are for; registered, so that tasks can be created by name.
        namespaces: where it takes steps from.
    """

    name: str
    found: FoundHandlers
    templates: Sequence[TaskTemplate]
    namespaces: Sequence[str]


@contextlib.asynccontextmanager
async def employment(
    server: str | None, database_url: str | None, assignment: Assignment, options: Mapping[str, Any]
) -> AsyncIterator[Employed]:
    """Run a worker for a server or on the database, whichever is chosen, until the body ends; see `working`."""
    connection = target(server=server, database_url=database_url)
    chosen = (
        _at_server(connection, assignment, options) if connection else _at_database(database_url, assignment, options)
    )
    async with chosen as employed:
        yield employed


@contextlib.asynccontextmanager
async def _at_database(
    database_url: str | None, assignment: Assignment, options: Mapping[str, Any]
) -> AsyncIterator[Employed]:
    settings = Settings.read(database_url=database_url)
    with open_database(settings) as database:
        async with open_engine(settings, database, may_migrate=False) as engine:
            await _register(engine, assignment)
            async with working(
                engine,
                assignment.found.registry,
                assignment.found.callables,
                name=assignment.name,
                namespaces=assignment.namespaces,
                **options,
            ) as (worker, running):
                yield worker, running, database.description


@contextlib.asynccontextmanager
async def _at_server(
    connection: Connection, assignment: Assignment, options: Mapping[str, Any]
) -> AsyncIterator[Employed]:
    async with client_of(connection) as client:
        await _register_over_http(client, assignment)
        credentials = client.credentials
    assert connection.base_url is not None
    async with http_source(
        connection.base_url,
        callables=assignment.found.callables,
        namespaces=assignment.namespaces,
        name=assignment.name,
        concurrency=options["concurrency"],
        headers=lambda: credentials,
    ) as source:
        worker = StepWorker(source, assignment.found.registry, **options)
        running = asyncio.create_task(worker.run())
        try:
            yield worker, running, connection.base_url
        finally:
            running.cancel()  # has no effect if it is done, as it should be
            await asyncio.gather(running, return_exceptions=True)


async def _register(engine: Engine, assignment: Assignment) -> None:
    for template in assignment.templates:
        try:
            await engine.templates.register(template, actor=assignment.name)
        except TemplateConflictError:
            _warn_of_conflict(template)


async def _register_over_http(client: AsyncTaskerClient, assignment: Assignment) -> None:
    for template in assignment.templates:
        try:
            await client.register_template(template.to_dict())
        except ConflictError:
            _warn_of_conflict(template)
        except PermissionDeniedError as error:
            log.info("template_not_registered", template=template.identity, reason=error.message)


def _warn_of_conflict(template: TaskTemplate) -> None:
    warn(
        f"{template.identity} is registered with other content, which new tasks get; change its version, or: "
        "tasker template register --force"
    )
