"""Bodies about the worker processes that there are."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, Field


class WorkerInfo(BaseModel):
    """A worker process."""

    worker_id: UUID
    name: str
    hostname: str
    pid: int
    namespaces: list[str] | None = Field(description="Where it takes steps from; everywhere if null.")
    callables: list[str] = Field(description="What it has handlers for.")
    concurrency: int | None = Field(description="Steps that it runs at once, if it said so.")
    in_flight: int = Field(description="Steps that it holds.")
    sdk: str | None
    subject: str | None = Field(description="Whose credential it has; null if it works on the database itself.")
    live: bool = Field(description="Whether it did not stop and was seen lately.")
    started_at: datetime
    last_seen_at: datetime
    stopped_at: datetime | None


class WorkerList(BaseModel):
    """The worker processes that there are."""

    workers: list[WorkerInfo]
