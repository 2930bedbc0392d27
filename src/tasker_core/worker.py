"""The worker of an application, as one object."""

from types import TracebackType
from typing import ClassVar, Self

import structlog

from tasker_core.bootstrap import (
    DEFAULT_CONCURRENCY,
    DEFAULT_SHUTDOWN_SECONDS,
    bootstrap_worker,
    is_worker_running,
    stop_worker,
)
from tasker_core.handler import HandlerRegistry
from tasker_core.types import BootstrapConfig, BootstrapResult

log = structlog.get_logger("tasker.worker")


class Worker:
    """Starts and stops the worker of this process; there is one at most.

    Use ``Worker.start(...)`` as a context manager, or call :meth:`stop`::

        with Worker.start(handler_packages=["app.handlers"]) as worker:
            ...
    """

    _instance: ClassVar["Worker | None"] = None

    def __init__(self) -> None:
        self._result: BootstrapResult | None = None

    @classmethod
    def start(
        cls,
        handler_packages: list[str] | None = None,
        config: BootstrapConfig | None = None,
        *,
        concurrency: int = DEFAULT_CONCURRENCY,
        shutdown_timeout: float = DEFAULT_SHUTDOWN_SECONDS,
    ) -> "Worker":
        """Find the handlers and start the worker; return once it is ready. One that runs already is returned as it is.

        Handlers are those that the templates name by path, and those in the packages, which win.

        Args:
            handler_packages: packages with handlers; all their modules are imported. One that cannot be is logged.
            config: see `bootstrap_worker`, and for what happens.
            concurrency: handlers that run at once.
            shutdown_timeout: seconds that running handlers have to finish once it is stopped.

        Raises:
            WorkerBootstrapError: it cannot be started; says why. Also a ``RuntimeError``.
        """
        running = cls.instance()
        if running is not None:
            log.warning("worker_already_running", worker=running.worker_id)
            return running
        registry = HandlerRegistry.instance(skip_bootstrap=True)
        registry.bootstrap_handlers()
        for package in handler_packages or []:
            registry.discover_handlers(package)
        worker = cls()
        worker._result = bootstrap_worker(config, concurrency=concurrency, shutdown_timeout=shutdown_timeout)
        if not worker._result.success:
            # Somebody called `bootstrap_worker`; what was found just now comes too late for it.
            log.warning("worker_already_running", reason=worker._result.message)
        Worker._instance = worker
        return worker

    @classmethod
    def instance(cls) -> "Worker | None":
        """Return the worker that runs, if there is one."""
        worker = Worker._instance
        return worker if worker is not None and worker.is_running else None

    @classmethod
    def reset_instance(cls) -> None:
        """Stop the worker, if there is one, and forget it."""
        worker = Worker._instance
        if worker is not None:
            worker.stop()
        Worker._instance = None

    def stop(self) -> None:
        """Stop it once its running handlers are done. Does nothing if it is not running."""
        if self._result is None:
            return
        self._result = None
        if Worker._instance is self:
            Worker._instance = None
        stop_worker()

    @property
    def worker_id(self) -> str:
        """Its name in the history; empty if it was not started."""
        return "" if self._result is None else self._result.worker_id

    @property
    def is_running(self) -> bool:
        """Whether it was started and runs."""
        return self._result is not None and is_worker_running()

    @property
    def bootstrap_result(self) -> BootstrapResult:
        """How its start ended.

        Raises:
            RuntimeError: it was not started.
        """
        if self._result is None:
            raise RuntimeError("Worker has not been started")
        return self._result

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
