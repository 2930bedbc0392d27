"""Bodies of requests and responses about steps."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue

from tasker_core.server.bodies import Body
from tasker_core.server.schemas.tasks import ActionBody, Person, Reason
from tasker_core.states import StepState


def _not_null(result: Any) -> Any:
    if result is None:
        raise ValueError("A step that is complete has a result other than null")
    return result


def _example(**body: JsonValue) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [body]})


class CompletionData(Body):
    """What a step is taken to have resulted in."""

    result: Annotated[Any, AfterValidator(_not_null), Field(json_schema_extra={"not": {"type": "null"}})]
    metadata: Annotated[Any, Field(description="What is no object is kept as `operator_metadata`")] = None


class ResetForRetry(Body):
    """Let a failed step start afresh, with all its attempts."""

    model_config = _example(action_type="reset_for_retry", reason="the bank is back", reset_by="ann")

    action_type: Literal["reset_for_retry"]
    reason: Reason
    reset_by: Person


class ResolveManually(Body):
    """Take a step for done, without a result."""

    model_config = _example(action_type="resolve_manually", reason="paid in cash", resolved_by="ann")

    action_type: Literal["resolve_manually"]
    reason: Reason
    resolved_by: Person


class CompleteManually(Body):
    """Give a step its result."""

    model_config = _example(
        action_type="complete_manually",
        completion_data={"result": {"charged": 64.79}},
        reason="charged by telephone",
        completed_by="ann",
    )

    action_type: Literal["complete_manually"]
    completion_data: CompletionData
    reason: Reason
    completed_by: Person


StepManualAction = Annotated[
    ResetForRetry | ResolveManually | CompleteManually, Field(discriminator="action_type", title="StepManualAction")
]


class StepActionBody(ActionBody):
    """Why something is done to a step."""

    model_config = _example(reason="the bank is back")

    reason: Reason


class CompleteBody(StepActionBody):
    """The result that a step is given."""

    model_config = _example(result={"charged": 64.79}, reason="charged by telephone")

    result: Annotated[Any, AfterValidator(_not_null), Field(json_schema_extra={"not": {"type": "null"}})]
    metadata: Annotated[Any, Field(description="What is no object is kept as `operator_metadata`")] = None


class ExecutionResult(BaseModel):
    """How the last attempt of a step ended."""

    step_uuid: UUID
    success: bool
    status: str
    result: Any
    metadata: dict[str, Any]
    error: dict[str, Any] | None
    orchestration_metadata: dict[str, Any] | None


class Step(BaseModel):
    """A step of a task; ``results`` is null until an attempt ended."""

    step_uuid: UUID
    task_uuid: UUID
    name: str
    template_step: str
    callable: str
    current_state: StepState
    created_at: datetime
    updated_at: datetime
    completed_at: datetime | None
    results: ExecutionResult | None
    inputs: Any
    checkpoint: Any
    dependencies: list[str]
    unmet_dependencies: int
    dependencies_satisfied: bool
    retry_eligible: bool
    ready_for_execution: bool
    total_parents: int
    completed_parents: int
    attempts: int
    max_attempts: int
    last_failure_at: datetime | None
    next_retry_at: datetime | None
    last_attempted_at: datetime | None
    leased_at: datetime | None
    lease_expires_at: datetime | None
    worker: str | None


class StepAudit(BaseModel):
    """The end of an attempt, or what somebody did by hand. What is not known is left out."""

    audit_uuid: UUID
    workflow_step_uuid: UUID
    transition_uuid: UUID
    task_uuid: UUID
    recorded_at: datetime
    worker_uuid: UUID | None = None
    worker: str | None = None
    correlation_id: UUID | None = None
    success: bool
    execution_time_ms: int | None = None
    result: Annotated[Any, Field(description="The result of the attempt that counts; the error of one that failed")] = (
        None
    )
    step_name: str
    attempt: int | None = None
    from_state: StepState | None = None
    to_state: StepState
    action: Annotated[str | None, Field(description="The verb, if it was done by hand")] = None
    actor: str | None = None
    reason: str | None = None
