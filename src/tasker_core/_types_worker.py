"""A worker's settings and state."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class WorkerState(StrEnum):
    """Where a worker is between its start and its end."""

    STARTING = "starting"
    RUNNING = "running"
    SHUTTING_DOWN = "shutting_down"
    STOPPED = "stopped"
    ERROR = "error"


class BootstrapConfig(BaseModel):
    """How to start a worker; an unknown field raises ``pydantic.ValidationError``.

    ``worker_id`` is made up when None. ``log_level`` is one of ``trace``, ``debug``, ``info``,
    ``warn`` and ``error``.
    """

    model_config = ConfigDict(extra="forbid")

    worker_id: str | None = None
    namespace: str = "default"
    config_path: str | None = None
    log_level: str = Field(default="info", pattern=r"^(trace|debug|info|warn|error)$")


class LogContext(BaseModel):
    """Fields that tie a log line to a task and its steps; those left None are not logged."""

    correlation_id: str | None = None
    task_uuid: str | None = None
    step_uuid: str | None = None
    namespace: str | None = None
    operation: str | None = None
