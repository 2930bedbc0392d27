"""A worker inside an application: on an event loop in a thread of its own, beside whatever else the process does."""

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import structlog

from tasker_core.client import AsyncTaskerClient, ConflictError, PermissionDeniedError
from tasker_core.exceptions import WorkerBootstrapError
from tasker_core.handler import HandlerRegistry
from tasker_core.registry import HandlerDefinition, ResolverNotFoundError
from tasker_core.step_source import (
    LeasedStep,
    LeaseKey,
    Renew,
    ReportAnswer,
    SourceUnavailableError,
    StepReport,
    StepSource,
    WaitingStepSource,
)
from tasker_core.template_discovery import TemplatePath
from tasker_core.types import WorkerState

if TYPE_CHECKING:
    from tasker_core.step_worker import StepWorker
    from tasker_core.template import DiscoveredTemplate, StepTemplate

#: Seconds that a stopping worker has to end beyond those that its handlers have.
_SHUTDOWN_MARGIN: Final = 35.0

log = structlog.get_logger("tasker.worker")


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """How an application's worker runs.

    Attributes:
        worker_id: its name in the history.
        concurrency: handlers that run at once.
        shutdown_timeout: seconds that running handlers have once the worker is stopped.
        namespace: a namespace to serve besides those of the templates; None for none.
    """

    worker_id: str
    concurrency: int
    shutdown_timeout: float
    namespace: str | None = None


@dataclass(slots=True)
class Counts:
    """What a worker has done. A step counts when its end is recorded; a checkpoint is no end."""

    succeeded: int = 0
    failed: int = 0

    @property
    def processed(self) -> int:
        """All attempts whose end was recorded."""
        return self.succeeded + self.failed


@dataclass(frozen=True, slots=True)
class Service:
    """What a worker can run.

    Attributes:
        templates: the application's templates.
        callables: what there are handlers for.
        namespaces: where steps are taken from; everywhere if None.
        missing: the callables of the templates that there are no handlers for.
    """

    templates: "Sequence[DiscoveredTemplate]" = ()
    callables: Sequence[str] = ()
    namespaces: Sequence[str] | None = None
    missing: Sequence[str] = ()


class ApplicationWorker:
    """The worker of an application.

    Args:
        registry: the handlers.
        options: how to run.
    """

    def __init__(self, registry: HandlerRegistry, options: WorkerOptions) -> None:
        self.options = options
        self.counts = Counts()
        self.service = Service()
        self.state = WorkerState.STARTING
        self.error: BaseException | None = None
        self.environment = os.environ.get("TASKER_ENV") or None
        self.connected_to = ""
        self.source_kind = ""
        self.reachable = True
        self._registry = registry
        self._started = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._worker: StepWorker | None = None
        self._thread = threading.Thread(target=self._run, name="tasker-worker", daemon=True)

    @property
    def is_running(self) -> bool:
        """Whether it runs, if only to end what it has begun."""
        return self._thread.is_alive() and self.state in {WorkerState.RUNNING, WorkerState.SHUTTING_DOWN}

    @property
    def in_progress(self) -> int:
        """How many steps it holds."""
        return self._worker.running if self._worker is not None else 0

    @property
    def handler_count(self) -> int:
        """How many handlers are registered."""
        return self._registry.handler_count()

    def start(self) -> None:
        """Start it, and return once it is ready to take steps.

        Raises:
            WorkerBootstrapError: it cannot be started; says why.
        """
        self._thread.start()
        self._started.wait()
        if self.error is not None:
            self._thread.join()
            raise WorkerBootstrapError(f"Bootstrap failed: {_reason(self.error)}") from self.error

    def drain(self) -> None:
        """Let it take no more steps; it ends when those that run are done."""
        if self.state is WorkerState.RUNNING:
            self.state = WorkerState.SHUTTING_DOWN
        if self._loop is not None and self._worker is not None:
            with contextlib.suppress(RuntimeError):  # its loop is closed: it has ended already
                self._loop.call_soon_threadsafe(self._worker.stop)

    def stop(self) -> None:
        """Let it end what it has begun, and wait for that."""
        self.drain()
        self._thread.join(self.options.shutdown_timeout + _SHUTDOWN_MARGIN)
        if self._thread.is_alive():
            log.warning("worker_left_behind", worker=self.options.worker_id, steps=self.in_progress)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
            self.state = WorkerState.STOPPED
        except BaseException as error:
            self.error = error
            if self._started.is_set():
                log.exception("worker_failed", worker=self.options.worker_id)
            self.state = WorkerState.ERROR
        finally:
            self._started.set()

    async def _serve(self) -> None:
        from tasker_core.step_worker import StepWorker

        self._loop = asyncio.get_running_loop()
        self.service = find_service(self._registry, self.options.namespace)
        if self.service.missing:
            log.warning("handlers_missing", callables=list(self.service.missing))
        async with self._source() as source:
            observed = (
                _WaitingObserved(source, self) if isinstance(source, WaitingStepSource) else _Observed(source, self)
            )
            self._worker = StepWorker(
                observed,
                self._registry,
                concurrency=self.options.concurrency,
                shutdown_timeout=self.options.shutdown_timeout,
            )
            self.state = WorkerState.RUNNING
            log.info(
                "worker_started",
                worker=self.options.worker_id,
                engine=self.connected_to,
                namespaces=self.service.namespaces or "all",
                templates=len(self.service.templates),
                handlers=len(self.service.callables),
            )
            self._started.set()
            await self._worker.run()
        log.info("worker_stopped", worker=self.options.worker_id, steps=self.counts.processed)

    def _source(self) -> AbstractAsyncContextManager[StepSource]:
        url = os.environ.get("TASKER_ORCHESTRATION_URL")
        return self._http_source(url) if url else self._database_source()

    @contextlib.asynccontextmanager
    async def _http_source(self, url: str) -> AsyncIterator[StepSource]:
        from tasker_core.step_worker.http_source import http_source

        self.connected_to, self.source_kind = url, "server"
        async with AsyncTaskerClient(self.options.worker_id, base_url=url) as client:
            await self._register_over_http(client)
            credentials = client.credentials
        async with http_source(
            url,
            callables=self.service.callables,
            namespaces=self.service.namespaces,
            name=self.options.worker_id,
            concurrency=self.options.concurrency,
            headers=lambda: credentials,
        ) as source:
            yield source

    async def _register_over_http(self, client: AsyncTaskerClient) -> None:
        for entry in self.service.templates:
            try:
                await client.register_template(entry.path)
            except ConflictError as error:
                raise WorkerBootstrapError(f"{entry.path}: {error.message}") from error
            except PermissionDeniedError as error:
                log.warning("template_not_registered", template=str(entry.path), reason=error.message)

    @contextlib.asynccontextmanager
    async def _database_source(self) -> AsyncIterator[StepSource]:
        from tasker_core.orchestration import TemplateConflictError
        from tasker_core.runtime import Settings, open_database, open_engine

        settings = Settings.read()
        with open_database(settings) as database:
            self.connected_to, self.source_kind = database.description, "database"
            async with open_engine(settings, database, may_migrate=False) as engine:
                for entry in self.service.templates:
                    try:
                        await engine.templates.register(entry.template, actor=self.options.worker_id)
                    except TemplateConflictError as error:
                        raise WorkerBootstrapError(f"{entry.path}: {error}") from error
                async with engine.worker_source(
                    self.service.callables,
                    on_ready=self._wake,
                    on_cancelled=self._check_leases,
                    name=self.options.worker_id,
                    namespaces=self.service.namespaces,
                ) as source:
                    yield source

    def _wake(self) -> None:
        if self._worker is not None:
            self._worker.wake()

    def _check_leases(self) -> None:
        if self._worker is not None:
            self._worker.check_leases()


_Source = TypeVar("_Source", bound=StepSource)


class _Observed(Generic[_Source]):
    """A step source that keeps count of what becomes of the steps."""

    def __init__(self, source: _Source, owner: ApplicationWorker) -> None:
        self._source = source
        self._owner = owner

    @property
    def lease_seconds(self) -> float:
        return self._source.lease_seconds

    async def claim(self, limit: int) -> Sequence[LeasedStep]:
        with self._watched():
            return await self._source.claim(limit)

    async def report(self, reports: Sequence[StepReport], want: int) -> ReportAnswer:
        from tasker_core.engine import checkpoint

        with self._watched():
            answer = await self._source.report(reports, want)
        for report in reports:
            recorded = report.lease not in answer.refused and report.lease not in answer.rejected
            if not recorded or checkpoint.is_yield(report.success, report.metadata):
                continue
            if report.success:
                self._owner.counts.succeeded += 1
            else:
                self._owner.counts.failed += 1
        return answer

    async def recover(self) -> Sequence[LeasedStep]:
        with self._watched():
            return await self._source.recover()

    async def next_due(self) -> float | None:
        with self._watched():
            return await self._source.next_due()

    async def release(self, leases: Sequence[LeaseKey]) -> None:
        await self._source.release(leases)

    def heartbeats(self) -> AbstractAsyncContextManager[Renew]:
        return self._source.heartbeats()

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        try:
            yield
        except SourceUnavailableError:
            self._owner.reachable = False
            raise
        self._owner.reachable = True


class _WaitingObserved(_Observed[WaitingStepSource]):
    """The same for a source that waits on the engine's side."""

    @property
    def wait_seconds(self) -> float:
        return self._source.wait_seconds


def find_service(registry: HandlerRegistry, namespace: str | None = None) -> Service:
    """Return what the application's templates and handlers make possible.

    Templates are those of `TemplatePath.find_template_config_directory`. Steps are taken from the namespaces that
    the templates have; without templates, and without ``namespace``, from all.

    Raises:
        TemplateError: a template is not valid.
    """
    from tasker_core.template import TemplateError, discover

    directory = TemplatePath.find_template_config_directory()
    found = discover([directory] if directory is not None else [])
    if found.failures:
        raise TemplateError(finding for failure in found.failures for finding in failure.findings)
    steps = [step for entry in found.templates for step in entry.template.steps]
    missing = {step.handler.callable for step in steps if not _has_handler(registry, step)}
    callables = {*registry.list_handlers(), *(step.handler.callable for step in steps)} - missing
    namespaces = {*found.namespaces, *([namespace] if namespace else ())}
    return Service(
        templates=found.templates,
        callables=sorted(callables),
        namespaces=sorted(namespaces) or None,
        missing=sorted(missing),
    )


def _has_handler(registry: HandlerRegistry, step: "StepTemplate") -> bool:
    try:
        return registry.resolve(HandlerDefinition.from_dict(step.to_dict()["handler"])) is not None
    except ResolverNotFoundError:
        return False


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__
