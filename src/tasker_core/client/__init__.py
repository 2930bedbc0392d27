"""Clients of a Tasker server: `TaskerClient`, and `AsyncTaskerClient` for asynchronous programs."""

from tasker_core.client.clients import AsyncTaskerClient, TaskerClient
from tasker_core.client.errors import (
    BackpressureError,
    ConflictError,
    ConnectionFailedError,
    CredentialsRefusedError,
    DuplicateTaskError,
    InvalidRequestError,
    PermissionDeniedError,
    ResourceNotFoundError,
    ServerUnavailableError,
    TaskerClientError,
    ValidationFailedError,
    WaitTimeoutError,
)
from tasker_core.client.responses import (
    BulkCreateResponse,
    HealthResponse,
    PaginationInfo,
    ServerEvent,
    StepAuditResponse,
    StepResponse,
    TaskListResponse,
    TaskResponse,
)

__all__ = [
    "AsyncTaskerClient",
    "BackpressureError",
    "BulkCreateResponse",
    "ConflictError",
    "ConnectionFailedError",
    "CredentialsRefusedError",
    "DuplicateTaskError",
    "HealthResponse",
    "InvalidRequestError",
    "PaginationInfo",
    "PermissionDeniedError",
    "ResourceNotFoundError",
    "ServerEvent",
    "ServerUnavailableError",
    "StepAuditResponse",
    "StepResponse",
    "TaskListResponse",
    "TaskResponse",
    "TaskerClient",
    "TaskerClientError",
    "ValidationFailedError",
    "WaitTimeoutError",
]
