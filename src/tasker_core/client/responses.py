"""What the server answers, as plain frozen dataclasses.

Values are as in the JSON: times are texts in RFC 3339. A key that an answer lacks takes its default, and one that is
not known here is left out, so a client works with older and newer servers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

from tasker_core.states import TaskState

_RESTING = frozenset(state.value for state in TaskState if state.is_resting)


@dataclass(frozen=True)
class _Response:
    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Return it from decoded JSON."""
        return cls(**{name: data[name] for name in data.keys() & {each.name for each in fields(cls)}})


@dataclass(frozen=True)
class TaskResponse(_Response):
    """A task: what it was created with, its state, and how far it is.

    ``steps`` is empty in lists. ``completion_percentage`` is from 0 to 100.
    """

    task_uuid: str = ""
    name: str = ""
    namespace: str = ""
    version: str = ""
    status: str = ""
    created_at: str = ""
    updated_at: str = ""
    completed_at: str | None = None
    context: dict[str, Any] = field(default_factory=dict)
    initiator: str = ""
    source_system: str = ""
    reason: str = ""
    priority: int | None = None
    tags: list[str] | None = None
    correlation_id: str = ""
    parent_correlation_id: str | None = None
    total_steps: int = 0
    pending_steps: int = 0
    in_progress_steps: int = 0
    completed_steps: int = 0
    failed_steps: int = 0
    ready_steps: int = 0
    execution_status: str = ""
    recommended_action: str = ""
    completion_percentage: float = 0.0
    health_status: str = ""
    steps: list[dict[str, Any]] = field(default_factory=list)

    @property
    def is_resting(self) -> bool:
        """Whether the task goes on only if somebody acts on it: it is over, or blocked by failures."""
        return self.status in _RESTING


@dataclass(frozen=True)
class StepResponse(_Response):
    """A step of a task. ``results`` is how its last attempt ended, if one has."""

    step_uuid: str = ""
    task_uuid: str = ""
    name: str = ""
    created_at: str = ""
    updated_at: str = ""
    completed_at: str | None = None
    results: Any = None
    current_state: str = ""
    dependencies_satisfied: bool = False
    retry_eligible: bool = False
    ready_for_execution: bool = False
    total_parents: int = 0
    completed_parents: int = 0
    attempts: int = 0
    max_attempts: int = 0
    last_failure_at: str | None = None
    next_retry_at: str | None = None
    last_attempted_at: str | None = None


@dataclass(frozen=True)
class StepAuditResponse(_Response):
    """The end of one attempt of a step, or what somebody did to it."""

    audit_uuid: str = ""
    workflow_step_uuid: str = ""
    transition_uuid: str = ""
    task_uuid: str = ""
    recorded_at: str = ""
    worker_uuid: str | None = None
    correlation_id: str | None = None
    success: bool = False
    execution_time_ms: int | None = None
    result: Any = None
    step_name: str = ""
    from_state: str | None = None
    to_state: str = ""


@dataclass(frozen=True)
class PaginationInfo(_Response):
    """Where a page is in the whole."""

    page: int = 0
    per_page: int = 50
    total_count: int = 0
    total_pages: int = 0
    has_next: bool = False
    has_previous: bool = False


@dataclass(frozen=True)
class TaskListResponse(_Response):
    """Tasks, newest first."""

    tasks: list[TaskResponse] = field(default_factory=list)
    pagination: PaginationInfo = field(default_factory=PaginationInfo)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Return it from decoded JSON."""
        return cls(
            tasks=[TaskResponse.from_dict(task) for task in data.get("tasks", ())],
            pagination=PaginationInfo.from_dict(data.get("pagination", {})),
        )


@dataclass(frozen=True)
class BulkCreateResponse(_Response):
    """What became of many tasks that were to be created; ``results`` has one entry for each, in their order."""

    created: int = 0
    existing: int = 0
    failed: int = 0
    results: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class HealthResponse(_Response):
    """Whether the server is up."""

    healthy: bool = False
    status: str = ""
    timestamp: str = ""


@dataclass(frozen=True)
class ServerEvent(_Response):
    """Something that happened. ``id`` is where a later stream may go on; ``event`` is the kind."""

    id: str | None = None
    event: str = "message"
    data: Any = None
