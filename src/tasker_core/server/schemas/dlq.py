"""Bodies of the dead letter routes."""

from enum import StrEnum
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from tasker_core.engine.staleness import Health
from tasker_core.server.bodies import Body
from tasker_core.server.schemas.tasks import Person


class DeadLetterStatus(StrEnum):
    """What became of a dead letter."""

    PENDING = "pending"
    MANUALLY_RESOLVED = "manually_resolved"
    PERMANENTLY_FAILED = "permanently_failed"
    CANCELLED = "cancelled"


class DeadLetterReason(StrEnum):
    """Why a task needs a person."""

    STALENESS_TIMEOUT = "staleness_timeout"
    MAX_RETRIES_EXCEEDED = "max_retries_exceeded"
    DEPENDENCY_CYCLE_DETECTED = "dependency_cycle_detected"
    WORKER_UNAVAILABLE = "worker_unavailable"
    MANUAL_DLQ = "manual_dlq"


class ResolveAction(StrEnum):
    """What resolving a dead letter does about its task; ``none`` only closes the entry."""

    RETRY = "retry"
    RESOLVE = "resolve"
    DISCARD = "discard"
    CANCEL = "cancel"
    NONE = "none"


_Enum = TypeVar("_Enum", bound=StrEnum)


def _spelled(kind: type[_Enum]) -> BeforeValidator:
    """Accept ``manually_resolved`` as well as ``ManuallyResolved``, in any case."""
    spellings = {member.value.replace("_", ""): member for member in kind}

    def read(given: object) -> object:
        return spellings.get(given.replace("_", "").lower(), given) if isinstance(given, str) else given

    return BeforeValidator(read)


StatusInput = Annotated[DeadLetterStatus, _spelled(DeadLetterStatus)]
ReasonInput = Annotated[DeadLetterReason, _spelled(DeadLetterReason)]

_Notes = Annotated[str, Field(max_length=10_000)]


class InvestigationUpdate(Body):
    """What is found out about a dead letter; what is missing or null stays as it is.

    ``resolved_by`` counts only if the caller has no name of its own.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [{"resolution_notes": "the bank was down on Monday"}]})

    resolution_status: StatusInput | None = None
    resolution_notes: _Notes | None = None
    resolved_by: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    metadata: dict[str, Any] | None = None


class ResolveRequest(Body):
    """How to resolve a dead letter; see `ResolveAction`. With ``dry_run`` nothing is changed."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"action": "retry", "notes": "the bank is back"}]})

    action: Annotated[ResolveAction, _spelled(ResolveAction)]
    notes: _Notes | None = None
    dry_run: bool = False
    actor: Annotated[
        Person | None,
        Field(description="Who does it, where authentication is off; otherwise the credentials say so"),
    ] = None


class DlqEntry(BaseModel):
    """A dead letter: a task, or one step of it, that needs a person, and how the task stood when that was noted."""

    dlq_entry_uuid: str
    task_uuid: str
    namespace: str
    name: str
    version: str
    step: str | None
    original_state: str
    dlq_reason: DeadLetterReason
    dlq_timestamp: str
    resolution_status: DeadLetterStatus
    resolution_timestamp: str | None
    resolution_notes: str | None
    resolved_by: str | None
    task_snapshot: dict[str, Any]
    metadata: dict[str, Any] | None
    created_at: str
    updated_at: str


class DlqResolution(DlqEntry):
    """A dead letter and what happened to its task, which is null if nothing did."""

    change: dict[str, Any] | None


class UpdateInvestigationResponse(BaseModel):
    """What was found out is noted."""

    success: bool
    message: str
    dlq_entry_uuid: str


class DlqStats(BaseModel):
    """How many dead letters there are for a reason."""

    dlq_reason: DeadLetterReason
    total_entries: int
    pending: int
    manually_resolved: int
    permanent_failures: int
    cancelled: int
    oldest_entry: str | None
    newest_entry: str | None
    avg_resolution_time_minutes: float | None


class DlqInvestigationQueueEntry(BaseModel):
    """An open dead letter, with how much it presses."""

    dlq_entry_uuid: str
    task_uuid: str
    original_state: str
    dlq_reason: DeadLetterReason
    dlq_timestamp: str
    minutes_in_dlq: float
    namespace_name: str
    task_name: str
    current_state: str
    time_in_state_minutes: int
    priority_score: float


class StalenessMonitoring(BaseModel):
    """A task that is under way, with how near it is to being stale."""

    task_uuid: str
    namespace_name: str
    task_name: str
    current_state: str
    time_in_state_minutes: int
    task_age_minutes: int
    staleness_threshold_minutes: int
    health_status: Health
    priority: int
