"""What is known of a running worker, and the server's answers as models that check them."""

from typing import Any

from pydantic import BaseModel, Field


class BootstrapResult(BaseModel):
    """How the start of a worker ended; ``status`` is ``started`` or ``already_running``."""

    success: bool
    handle_id: str
    worker_id: str
    status: str
    message: str | None = None
    error_message: str | None = None


class WorkerStatus(BaseModel):
    """How the process's worker stands. ``error`` says why it does not run."""

    running: bool
    environment: str | None = None
    worker_core_status: str | None = None
    web_api_enabled: bool | None = None
    supported_namespaces: list[str] | None = None
    database_pool_size: int | None = None
    database_pool_idle: int | None = None
    error: str | None = None


class ComponentHealth(BaseModel):
    """How something that a worker depends on stands: ``healthy`` or ``unhealthy``."""

    name: str
    status: str
    pool_size: int | None = None
    pool_idle: int | None = None


class HealthCheck(BaseModel):
    """Whether a worker is well, with all that it depends on."""

    status: str
    is_running: bool
    components: dict[str, ComponentHealth] = Field(default_factory=dict)
    rust: dict[str, Any] = Field(default_factory=dict)
    python: dict[str, Any] = Field(default_factory=dict)


class WorkerMetrics(BaseModel):
    """What a worker has done since its start."""

    dispatch_channel_pending: int = 0
    oldest_pending_age_ms: int | None = None
    newest_pending_age_ms: int | None = None
    starvation_detected: bool = False
    starving_event_count: int = 0
    database_pool_size: int = 0
    database_pool_idle: int = 0
    steps_processed: int = 0
    steps_succeeded: int = 0
    steps_failed: int = 0
    steps_in_progress: int = 0
    environment: str | None = None


class WorkerConfig(BaseModel):
    """How a worker was started. ``supported_namespaces`` is empty if it takes steps from everywhere."""

    environment: str | None = None
    supported_namespaces: list[str] = Field(default_factory=list)
    web_api_enabled: bool = False
    database_pool_size: int = 0
    polling_interval_ms: int = 10
    starvation_threshold_ms: int = 1000
    max_concurrent_handlers: int = 10
    handler_timeout_ms: int = 30000


class ClientStepReadiness(BaseModel):
    """A step of a task, and whether it may run."""

    workflow_step_uuid: str
    task_uuid: str
    named_step_uuid: str
    name: str
    current_state: str
    dependencies_satisfied: bool
    retry_eligible: bool
    ready_for_execution: bool
    total_parents: int
    completed_parents: int
    attempts: int
    max_attempts: int
    last_failure_at: str | None = None
    next_retry_at: str | None = None
    last_attempted_at: str | None = None
    backoff_request_seconds: int | None = None


class ClientTaskResponse(BaseModel):
    """A task; ``steps`` is empty in lists."""

    task_uuid: str
    name: str
    namespace: str
    version: str
    status: str
    created_at: str
    updated_at: str
    completed_at: str | None = None
    context: dict[str, Any]
    initiator: str
    source_system: str
    reason: str
    priority: int | None = None
    tags: list[str] | None = None
    correlation_id: str
    parent_correlation_id: str | None = None
    total_steps: int
    pending_steps: int
    in_progress_steps: int
    completed_steps: int
    failed_steps: int
    ready_steps: int
    execution_status: str
    recommended_action: str
    completion_percentage: float
    health_status: str
    steps: list[ClientStepReadiness]


class ClientPaginationInfo(BaseModel):
    """Where a page is in the whole."""

    page: int
    per_page: int
    total_count: int
    total_pages: int
    has_next: bool
    has_previous: bool


class ClientTaskListResponse(BaseModel):
    """Tasks, newest first."""

    tasks: list[ClientTaskResponse]
    pagination: ClientPaginationInfo


class ClientStepResponse(BaseModel):
    """A step of a task."""

    step_uuid: str
    task_uuid: str
    name: str
    created_at: str
    updated_at: str
    completed_at: str | None = None
    results: dict[str, Any] | None = None
    current_state: str
    dependencies_satisfied: bool
    retry_eligible: bool
    ready_for_execution: bool
    total_parents: int
    completed_parents: int
    attempts: int
    max_attempts: int
    last_failure_at: str | None = None
    next_retry_at: str | None = None
    last_attempted_at: str | None = None


class ClientStepAuditResponse(BaseModel):
    """The end of one attempt of a step, or what somebody did to it."""

    audit_uuid: str
    workflow_step_uuid: str
    transition_uuid: str
    task_uuid: str
    recorded_at: str
    worker_uuid: str | None = None
    correlation_id: str | None = None
    success: bool
    execution_time_ms: int | None = None
    result: Any = None
    step_name: str
    from_state: str | None = None
    to_state: str


class ClientHealthResponse(BaseModel):
    """That the server is up."""

    status: str
    timestamp: str
