"""Answers of the worker protocol."""

from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field


class Registered(BaseModel):
    """A worker that is registered."""

    worker_id: UUID
    lease_seconds: float = Field(description="How long a lease lasts unless a heartbeat renews it")
    heartbeat_seconds: float = Field(description="How often to renew")
    max_wait_seconds: float = Field(description="Longest wait_seconds that a request may ask for")
    namespaces: list[str] | None = Field(description="Where it takes steps from; null is everywhere")


class WorkerStatus(BaseModel):
    """What a worker's call did."""

    worker_id: UUID
    status: str


class LeaseName(BaseModel):
    """Names a lease."""

    step_uuid: UUID
    lease_id: int


class LeasedTask(BaseModel):
    """A task as its steps see it."""

    task_uuid: UUID
    named_task_uuid: UUID
    complete: bool
    requested_at: str
    initiator: str | None
    source_system: str | None
    reason: str | None
    tags: Any
    context: Any
    identity_hash: str | None
    priority: int
    created_at: str
    updated_at: str
    correlation_id: UUID
    parent_correlation_id: UUID | None


class NamedTask(BaseModel):
    """A task and its template's name."""

    task: LeasedTask
    task_name: str
    task_version: str
    namespace_name: str


class WorkflowStep(BaseModel):
    """The leased step."""

    workflow_step_uuid: UUID
    task_uuid: UUID
    named_step_uuid: UUID
    name: str
    template_step_name: str
    retryable: bool
    max_attempts: int
    in_process: bool
    processed: bool
    processed_at: str | None
    attempts: int
    last_attempted_at: str | None
    backoff_request_seconds: int | None
    inputs: Any
    results: Any
    checkpoint: Any
    created_at: str
    updated_at: str


class DependencyResult(BaseModel):
    """The result of a step before the leased one."""

    step_uuid: UUID
    success: bool
    result: Any
    status: str
    metadata: dict[str, Any]
    error: Any
    orchestration_metadata: Any


class TaskSequenceStep(BaseModel):
    """Everything that a handler may ask for."""

    task: NamedTask
    workflow_step: WorkflowStep
    dependency_results: dict[str, DependencyResult | None]
    step_definition: dict[str, Any]


class LeaseItem(BaseModel):
    """A leased step."""

    event_id: UUID
    task_uuid: UUID
    step_uuid: UUID
    lease_id: int
    attempt: int
    lease_seconds: float
    correlation_id: UUID
    task_correlation_id: UUID
    parent_correlation_id: UUID | None
    trace_id: str | None
    span_id: str | None
    task_sequence_step: TaskSequenceStep
    reruns: int
    omitted_results: list[str]


class Leases(BaseModel):
    """Leased steps."""

    leases: list[LeaseItem]


class Refusal(BaseModel):
    """A result that was not recorded."""

    step_uuid: UUID | None
    lease_id: int | None
    reason: str = Field(description="lease_lost, duplicate, malformed or not_recordable")
    detail: str | None


class ReportReply(BaseModel):
    """What became of reported results, and the steps that they freed."""

    accepted: list[LeaseName]
    refused: list[Refusal]
    leases: list[LeaseItem]
    more_ready: bool = Field(description="Whether more steps became ready that any worker may lease")


class HeartbeatReply(BaseModel):
    """What became of renewed leases."""

    renewed: int
    lost: list[LeaseName]
    cancelled: list[LeaseName] = Field(description="Lost because the step was cancelled")


class ResultsReply(BaseModel):
    """Results by step name; null where the step left none or is not before the leased one."""

    results: dict[str, DependencyResult | None]
