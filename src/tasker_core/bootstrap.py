"""Starting and stopping the worker of this process; there is one at most.

The worker itself is imported when it is started, so that an application that only creates tasks does not load it.
"""

import os
import threading
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import structlog

from tasker_core.handler import HandlerRegistry
from tasker_core.types import BootstrapConfig, BootstrapResult, WorkerState, WorkerStatus

if TYPE_CHECKING:
    from tasker_core.application_worker import ApplicationWorker

#: Handlers that run at once.
DEFAULT_CONCURRENCY = 10

#: Seconds that running handlers have once the worker is stopped.
DEFAULT_SHUTDOWN_SECONDS = 30.0

_NOT_INITIALIZED = "Worker system not initialized"

#: The levels of `BootstrapConfig` that have another name or none in Python.
_LEVELS = {"trace": "debug", "warn": "warning"}

# The worker of this process, if one was started and not stopped.
_current: "ApplicationWorker | None" = None
_lock = threading.Lock()


def bootstrap_worker(
    config: BootstrapConfig | None = None,
    *,
    concurrency: int = DEFAULT_CONCURRENCY,
    shutdown_timeout: float = DEFAULT_SHUTDOWN_SECONDS,
) -> BootstrapResult:
    """Start this process's worker, in a thread of its own, and return once it is ready.

    It runs the handlers of ``HandlerRegistry.instance()``, and registers the templates found by
    `TemplatePath.find_template_config_directory`. It takes steps from the server at ``TASKER_ORCHESTRATION_URL``, and
    without one from the database (``DATABASE_URL``, or the embedded PostgreSQL).

    Args:
        config: ``worker_id`` is its name in the history, ``namespace`` (other than ``default``) one to serve besides
            those of the templates; ``log_level`` counts unless the application has configured structlog.
        concurrency: handlers that run at once.
        shutdown_timeout: seconds that running handlers have to finish once it is stopped.

    Returns:
        ``status`` is ``started``, or ``already_running`` and nothing was done.

    Raises:
        WorkerBootstrapError: it cannot be started; says why. Also a ``RuntimeError``.
    """
    given = None if config is None else config.model_dump()
    answer = _bootstrap_worker(given, concurrency=concurrency, shutdown_timeout=shutdown_timeout)
    return BootstrapResult(
        success=answer["status"] == "started",
        handle_id=answer.get("handle_id", ""),
        worker_id=answer.get("worker_id", ""),
        status=answer["status"],
        message=answer.get("message"),
    )


def stop_worker() -> str:
    """Stop this process's worker once its running handlers are done; say in words what was done."""
    global _current
    with _lock:
        worker, _current = _current, None
        was_running = worker is not None and worker.is_running
        if worker is not None:
            worker.stop()
    return "Worker system stopped" if was_running else "Worker system not running"


def get_worker_status() -> WorkerStatus:
    """Return how this process's worker stands."""
    return WorkerStatus(**_get_worker_status())


def transition_to_graceful_shutdown() -> str:
    """Let this process's worker take no more steps; it ends when those that run are done. Does not wait for that.

    Raises:
        RuntimeError: there is no worker.
    """
    return _transition_to_graceful_shutdown()


def is_worker_running() -> bool:
    """Whether this process has a worker that runs."""
    return _current is not None and _current.is_running


def current_worker() -> "ApplicationWorker | None":
    """Return this process's worker, if one was started and not stopped."""
    return _current


def _bootstrap_worker(config: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    from tasker_core.application_worker import ApplicationWorker, WorkerOptions

    global _current
    settings = BootstrapConfig(**(config or {}))
    with _lock:
        if is_worker_running():
            return {
                "status": "already_running",
                "handle_id": "",
                "worker_id": "",
                "message": "Python worker system already running",
            }
        _apply_log_level(settings.log_level)
        worker = ApplicationWorker(
            HandlerRegistry.instance(),
            WorkerOptions(
                worker_id=settings.worker_id or f"python-worker-{uuid4()}",
                namespace=None if settings.namespace == "default" else settings.namespace,
                **{"concurrency": DEFAULT_CONCURRENCY, "shutdown_timeout": DEFAULT_SHUTDOWN_SECONDS, **options},
            ),
        )
        worker.start()
        _current = worker
    return {
        "status": "started",
        "handle_id": str(uuid4()),
        "worker_id": worker.options.worker_id,
        "message": "Python worker system started successfully",
    }


def _get_worker_status() -> dict[str, Any]:
    worker = _current
    if worker is None:
        return {"running": False, "error": _NOT_INITIALIZED}
    return {
        "running": worker.is_running,
        "environment": worker.environment,
        "worker_core_status": worker.state.value,
        "web_api_enabled": False,
        "supported_namespaces": list(worker.service.namespaces or ()),
        "error": None if worker.error is None else str(worker.error),
    }


def _transition_to_graceful_shutdown() -> str:
    worker = _current
    if worker is None or worker.state is WorkerState.ERROR:
        raise RuntimeError(_NOT_INITIALIZED)
    worker.drain()
    return "Worker system transitioned to graceful shutdown"


def _apply_log_level(level: str) -> None:
    if not structlog.is_configured():
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(_LEVELS.get(level, level)))


def _forget() -> None:
    """Begin anew in a process that was forked: threads do not come along."""
    global _current, _lock
    _current = None
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
