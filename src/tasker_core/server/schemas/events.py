"""What server-sent events carry."""

from typing import Any

from pydantic import BaseModel


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
