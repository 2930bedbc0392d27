"""What server-sent events carry."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field


class ChangeEvent(BaseModel):
    """The data of an event ``task`` or ``step``: one change of the state of a task or of one of its steps."""

    task_uuid: str
    namespace: str
    name: str
    occurred_at: str
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


class EndEvent(BaseModel):
    """The data of the event ``end``: the state in which the task ended."""

    status: str


_DATA = {
    "contentMediaType": "application/json",
    "contentSchema": {"anyOf": [ChangeEvent.model_json_schema(), EndEvent.model_json_schema()]},
}


class StreamedEvent(BaseModel):
    """One event of a stream."""

    id: Annotated[str, Field(description="What `Last-Event-ID` is to be to go on after this event")]
    event: Literal["task", "step", "end"]
    data: Annotated[str, Field(description="A ChangeEvent, or the EndEvent", json_schema_extra=_DATA)]
