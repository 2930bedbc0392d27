"""Bodies of requests and responses about tasks."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Final
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, Strict

from tasker_core import serialization
from tasker_core.orchestration.create_tasks import MAX_PRIORITY, TaskRequest
from tasker_core.server.bodies import Body
from tasker_core.states import StepState, TaskState
from tasker_core.template.schema import MAX_CONTAINER_ITEMS, MAX_CONTEXT_BYTES, MAX_STRING_CHARACTERS

#: Most tasks that one request creates.
MAX_BULK: Final = 10_000

_RFC_3339: Final = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}([.]\d{1,9})?([Zz]|[+-]\d{2}:\d{2})?", re.ASCII)


#: How the OpenAPI document describes what `parse_moment` takes.
MOMENT: Final[dict[str, JsonValue]] = {"format": "date-time", "pattern": "^(?!0000|0001|9999)"}


def parse_moment(text: object) -> datetime:
    """Return an RFC 3339 time in UTC; one without a zone is taken as UTC.

    Raises:
        ValueError: it is no such time.
    """
    if not isinstance(text, str) or not _RFC_3339.fullmatch(text):
        raise ValueError("not a time as in 2030-01-31T08:00:00Z")
    moment = datetime.fromisoformat(text.upper())
    # The first and the last moment there are stand for infinity in the database.
    if not 1 < moment.year < 9999:
        raise ValueError("not in the years from 2 to 9998")
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _small(tags: list[str]) -> list[str]:
    if len(serialization.dumps(tags).encode()) > MAX_CONTEXT_BYTES:
        raise ValueError(f"Tags take more than {MAX_CONTEXT_BYTES} bytes together")
    return tags


Moment = Annotated[
    datetime,
    BeforeValidator(parse_moment, json_schema_input_type=str),
    Field(json_schema_extra=MOMENT),
]
AnyUuid = Annotated[UUID, Strict(False)]
#: Text that must not be empty, which is checked later than its type, and answered differently.
_Name = Annotated[str, Field(max_length=255, json_schema_extra={"minLength": 1})]
_Label = Annotated[str, Field(min_length=1, max_length=MAX_STRING_CHARACTERS)]
Reason = Annotated[str, Field(min_length=1, max_length=500)]
Person = Annotated[str, Field(min_length=1, max_length=255)]


_EXAMPLE: Final[dict[str, JsonValue]] = {
    "name": "order",
    "namespace": "shop",
    "version": "1.0.0",
    "context": {"order": "A-1", "total": 64.79},
    "initiator": "checkout",
    "source_system": "web",
    "reason": "an order was placed",
    "tags": ["priority-customer"],
    "idempotency_key": "order A-1",
}


class NewTaskBody(Body):
    """A task to create."""

    model_config = ConfigDict(title="TaskRequest", json_schema_extra={"examples": [_EXAMPLE]})

    name: _Name
    namespace: _Name
    version: Annotated[
        str | None,
        Field(
            max_length=50,
            description="The template's version; `latest`, the newest registered one, if absent",
            json_schema_extra={"minLength": 1},
        ),
    ] = None
    context: dict[str, Any]
    initiator: Annotated[str, Field(min_length=1, max_length=255)]
    source_system: Annotated[str, Field(min_length=1, max_length=255)]
    reason: Reason
    tags: Annotated[list[_Label], Field(max_length=MAX_CONTAINER_ITEMS), AfterValidator(_small)] = Field(
        default_factory=list
    )
    requested_at: Annotated[
        Moment | None, Field(description="When the task is to start, RFC 3339; UTC if there is no zone")
    ] = None
    options: Annotated[dict[str, Any] | None, Field(description="Kept for compatibility; has no effect")] = None
    priority: Annotated[int | None, Field(ge=-MAX_PRIORITY, le=MAX_PRIORITY)] = None
    correlation_id: AnyUuid | None = None
    parent_correlation_id: AnyUuid | None = None
    idempotency_key: Annotated[
        str | None,
        Field(
            max_length=MAX_STRING_CHARACTERS,
            description="Names the request: made twice, it is one task",
            json_schema_extra={"pattern": r"\S"},
        ),
    ] = None
    return_existing: Annotated[
        bool, Field(description="Whether a request that was made before is answered with its task instead of with 409")
    ] = False

    def request(self) -> TaskRequest:
        """Return it as the engine takes it."""
        return TaskRequest(
            context=self.context,
            priority=self.priority or 0,
            correlation_id=self.correlation_id,
            parent_correlation_id=self.parent_correlation_id,
            initiator=self.initiator,
            source_system=self.source_system,
            reason=self.reason,
            tags=self.tags,
            requested_at=self.requested_at,
            idempotency_key=self.idempotency_key,
        )


class BulkBody(Body):
    """Tasks to create, each for itself."""

    model_config = ConfigDict(
        title="BulkTaskRequest",
        json_schema_extra={
            "examples": [
                {"tasks": [_EXAMPLE, {**_EXAMPLE, "context": {"order": "A-2"}, "idempotency_key": "order A-2"}]}
            ]
        },
    )

    #: Each is looked at for itself, so that one that is wrong does not spoil the others.
    tasks: Annotated[
        list[Any],
        Field(
            min_length=1,
            max_length=MAX_BULK,
            description="What is no request for a task is answered as failed",
            json_schema_extra={"items": {"anyOf": [NewTaskBody.model_json_schema(), {}]}},
        ),
    ]
    return_existing: bool = False


class ActionBody(Body):
    """Who does something."""

    actor: Annotated[
        Person | None,
        Field(description="Who does it, where authentication is off; otherwise the credentials say so"),
    ] = None


class PauseBody(ActionBody):
    """Why something is done."""

    reason: Reason | None = None


class RetryBody(PauseBody):
    """How a task is retried."""

    dry_run: Annotated[bool, Field(description="Change nothing, and answer what would happen")] = False


class CancelBody(ActionBody):
    """How a task is cancelled."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "the customer changed their mind"}]})

    reason: Reason
    dry_run: Annotated[bool, Field(description="Change nothing, and answer what would happen")] = False


class RerunBody(CancelBody):
    """How a task is run again from a step on."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"step": "charge", "reason": "the price was wrong", "dry_run": True}]}
    )

    step: Annotated[str, Field(min_length=1, max_length=255, description="Name or UUID of the step to start from")]


class StepReadiness(BaseModel):
    """A step of a task, and whether it may run."""

    workflow_step_uuid: UUID
    task_uuid: UUID
    named_step_uuid: UUID
    name: str
    current_state: StepState
    dependencies_satisfied: bool
    retry_eligible: bool
    ready_for_execution: bool
    last_failure_at: datetime | None
    next_retry_at: datetime | None
    total_parents: int
    completed_parents: int
    attempts: int
    max_attempts: int
    backoff_request_seconds: int | None
    last_attempted_at: datetime | None


class TaskCounts(BaseModel):
    """How the steps of a task stand."""

    total_steps: int
    pending_steps: int
    in_progress_steps: int
    completed_steps: int
    failed_steps: int
    completion_percentage: float
    health_status: str
    execution_status: str
    recommended_action: str


class TaskResponse(TaskCounts):
    """A task. ``steps`` is empty in lists."""

    task_uuid: UUID
    name: str
    namespace: str
    version: str
    environment: str | None
    template_digest: str
    status: TaskState
    created_at: datetime
    updated_at: datetime
    requested_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    paused_at: datetime | None
    paused_by: str | None
    pause_reason: str | None
    context: dict[str, Any]
    initiator: str | None
    source_system: str | None
    reason: str | None
    priority: int
    tags: list[str] | None
    correlation_id: UUID
    parent_correlation_id: UUID | None
    identity_hash: str | None
    active_steps: int
    retrying_steps: int
    ready_steps: int
    steps: list[StepReadiness]


class Pagination(BaseModel):
    """Where a page stands. A page that a cursor led to is not counted."""

    page: int | None = None
    per_page: int
    total_count: int | None = None
    total_pages: int | None = None
    has_next: bool
    has_previous: bool | None = None
    next_cursor: str | None


class TaskList(BaseModel):
    """Tasks, newest first."""

    tasks: list[TaskResponse]
    pagination: Pagination


class BulkError(BaseModel):
    """Why a task was not created."""

    code: str
    message: str
    details: list[dict[str, str]] | None = None


class BulkResult(BaseModel):
    """What became of one of the tasks."""

    index: int
    status: Annotated[str, Field(json_schema_extra={"enum": ["created", "existing", "failed"]})]
    task_uuid: UUID | None = None
    error: BulkError | None = None


class BulkAnswer(BaseModel):
    """What became of each task, in the order of the request."""

    created: int
    existing: int
    failed: int
    results: list[BulkResult]


class StepChange(BaseModel):
    """A step that an action moved."""

    step: str
    from_state: StepState
    to_state: StepState


class TaskChange(BaseModel):
    """What an action did, or would do."""

    task_uuid: UUID
    verb: str
    changed: bool
    dry_run: bool
    from_state: TaskState
    to_state: TaskState
    actor: str
    reason: str | None
    steps: list[StepChange]
    removed: list[str]


class SummarizedTask(TaskCounts):
    """A task without its input."""

    task_uuid: UUID
    name: str
    namespace: str
    version: str
    status: TaskState
    created_at: datetime
    updated_at: datetime
    completed_at: datetime | None
    initiator: str
    source_system: str
    reason: str
    correlation_id: UUID


class DeclaredStep(BaseModel):
    """A step as its template declares it."""

    name: str
    step_type: str
    handler: str
    dependencies: list[str]
    retryable: bool
    max_attempts: int


class SummarizedTemplate(BaseModel):
    """The graph that a task is a run of."""

    steps: list[DeclaredStep]


class ErrorDigest(BaseModel):
    """How a step failed last."""

    error_type: str
    retryable: bool
    status_code: int | None = None


class SummarizedStep(BaseModel):
    """A step without its result; ``error`` is there only if it failed."""

    step_uuid: UUID
    name: str
    current_state: StepState
    created_at: datetime
    completed_at: datetime | None
    last_attempted_at: datetime | None
    attempts: int
    max_attempts: int
    dependencies_satisfied: bool
    retry_eligible: bool
    error: ErrorDigest | None = None


class SummarizedDeadLetter(BaseModel):
    """Whether a task needs a person, and what was noted last."""

    in_dlq: bool
    dlq_reason: str | None
    resolution_status: str | None


class Links(BaseModel):
    """Where to look further."""

    task: str
    steps: str
    dlq: str


class TaskSummary(BaseModel):
    """All that it takes to draw a task."""

    task: SummarizedTask
    template: SummarizedTemplate
    steps: list[SummarizedStep]
    dlq: SummarizedDeadLetter
    links: Links


class StepExplanation(BaseModel):
    """Why a step does not run, or that it does."""

    step: str
    state: Annotated[str, Field(description="A state of steps, or `absent`")]
    blocker: str
    explanation: str
    waits_for: list[str]
    since: datetime | None
    until: datetime | None
    worker: str | None


class Explanations(BaseModel):
    """Why the steps of a task do not run."""

    task_uuid: UUID
    steps: list[StepExplanation]


class HistoryEntry(BaseModel):
    """A state change of a task, or of a step of it."""

    occurred_at: datetime
    step: str | None
    attempt: int | None
    from_state: str
    to_state: str
    worker: str | None
    verb: str | None
    actor: str | None
    reason: str | None
    execution_time_ms: int | None
    error: dict[str, Any] | None


class TaskHistory(BaseModel):
    """Everything that happened to a task, oldest first."""

    task_uuid: UUID
    history: list[HistoryEntry]
