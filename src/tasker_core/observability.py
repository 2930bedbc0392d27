"""How this process's worker is, what it has done, and how it was started."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from tasker_core.bootstrap import current_worker
from tasker_core.exceptions import WorkerNotInitializedError
from tasker_core.types import HealthCheck, WorkerConfig, WorkerMetrics

if TYPE_CHECKING:
    from tasker_core.application_worker import ApplicationWorker

T = TypeVar("T")

_NOT_INITIALIZED = "Worker not initialized. Call bootstrap_worker() first."


def get_health_check() -> HealthCheck:
    """Return whether the worker is well, and what it depends on.

    ``components`` has ``server`` or ``database``, whichever the worker takes its steps from.

    Raises:
        WorkerNotInitializedError: there is no worker.
    """
    return HealthCheck(**_asked(_get_health_check))


def get_metrics() -> WorkerMetrics:
    """Return what the worker has done since it was started. A step counts once its end is recorded.

    Raises:
        WorkerNotInitializedError: there is no worker.
    """
    return WorkerMetrics(**_asked(_get_metrics))


def get_worker_config() -> WorkerConfig:
    """Return how the worker was started.

    Raises:
        WorkerNotInitializedError: there is no worker.
    """
    return WorkerConfig(**_asked(_get_worker_config))


def _get_health_check() -> dict[str, Any]:
    worker = _worker()
    healthy = worker.is_running and worker.reachable
    component = {"name": worker.connected_to, "status": "healthy" if worker.reachable else "unhealthy"}
    return {
        "status": "healthy" if healthy else "unhealthy",
        "is_running": worker.is_running,
        "components": {worker.source_kind: component},
        "rust": {
            "environment": worker.environment,
            "worker_core_status": worker.state.value,
            "web_api_enabled": False,
        },
        "python": {"handler_count": worker.handler_count},
    }


def _get_metrics() -> dict[str, Any]:
    worker = _worker()
    return {
        "steps_processed": worker.counts.processed,
        "steps_succeeded": worker.counts.succeeded,
        "steps_failed": worker.counts.failed,
        "steps_in_progress": worker.in_progress,
        "environment": worker.environment,
    }


def _get_worker_config() -> dict[str, Any]:
    worker = _worker()
    from tasker_core.step_worker.step_worker import DEFAULT_TIMEOUT_SECONDS, IDLE_POLL_SECONDS

    return {
        "environment": worker.environment,
        "supported_namespaces": list(worker.service.namespaces or ()),
        "polling_interval_ms": round(IDLE_POLL_SECONDS * 1000),
        "max_concurrent_handlers": worker.options.concurrency,
        "handler_timeout_ms": round(DEFAULT_TIMEOUT_SECONDS * 1000),
    }


def _worker() -> "ApplicationWorker":
    worker = current_worker()
    if worker is None:
        raise RuntimeError(_NOT_INITIALIZED)
    return worker


def _asked(question: Callable[[], T]) -> T:
    try:
        return question()
    except RuntimeError as error:
        if "not initialized" in str(error) or "not running" in str(error):
            raise WorkerNotInitializedError("Worker is not running") from error
        raise
